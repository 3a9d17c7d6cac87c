//! Calls read back out of an answer, piece by piece.

use super::opening::{Opening, opening};
use super::{CallStyle, Marks};

/// What a piece of an answer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Words beside the calls.
    Text(String),
    /// A call begins.
    Name(String),
    /// More of its arguments.
    Arguments(String),
}

/// Reads an answer while it is written. Text is held back as long as it may be the beginning of a call.
#[derive(Debug, Clone)]
pub struct Reader {
    marks: Marks,
    /// The tools that may be called, where a call is found by the object that it is and not by its marks.
    names: Option<Vec<String>>,
    held: String,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Words, or a call's beginning.
    Words,
    Name,
    Arguments {
        depth: usize,
        in_text: bool,
        is_escaped: bool,
    },
    /// Behind a call's arguments.
    Behind,
    /// Behind its object, where calls are found by those: another one may follow.
    Between,
    /// Behind the last call.
    Over,
}

impl Reader {
    #[must_use]
    pub fn new(style: CallStyle, tools: &[String]) -> Self {
        let names = style.is_json().then(|| tools.to_vec());
        Self { marks: style.marks(), names, held: String::new(), state: State::Words }
    }

    /// Takes in more of the answer.
    pub fn read(&mut self, text: &str) -> Vec<Part> {
        self.held.push_str(text);
        let mut parts = Vec::new();
        while self.step(&mut parts) {}
        parts
    }

    /// Nothing more comes: what was held back.
    pub fn finish(&mut self) -> Vec<Part> {
        let rest = std::mem::take(&mut self.held);
        if self.state == State::Words && !rest.is_empty() { vec![Part::Text(rest)] } else { Vec::new() }
    }

    /// Goes on by a state; whether there may be more to do.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        match self.state {
            State::Words => self.words(parts),
            State::Over => {
                self.held.clear();
                false
            }
            State::Name => {
                let Some(at) = self.held.find(self.marks.between) else { return false };
                let name = self.held[..at].to_owned();
                self.held.drain(..at + self.marks.between.len());
                self.begin(name, parts);
                true
            }
            State::Arguments { .. } => self.arguments(parts),
            State::Behind => self.behind(),
            State::Between => self.between(parts),
        }
    }

    fn words(&mut self, parts: &mut Vec<Part>) -> bool {
        let Some(names) = &self.names else { return self.words_before_mark(parts) };
        let starts = self.held.char_indices().filter(|(_, c)| "{<`".contains(*c));
        let found =
            starts.map(|(at, _)| (at, opening(&self.held[at..], names))).find(|(_, found)| *found != Opening::No);
        let at = found.as_ref().map_or(self.held.len(), |(at, _)| *at);
        // White space in front of a call belongs to neither.
        let n_certain = self.held[..at].trim_end().len();
        let words: String = self.held.drain(..n_certain).collect();
        if !words.is_empty() {
            parts.push(Part::Text(words));
        }
        let Some((at, Opening::Yes { name, n })) = found else { return false };
        self.held.drain(..at - n_certain + n);
        self.begin(name, parts);
        true
    }

    fn words_before_mark(&mut self, parts: &mut Vec<Part>) -> bool {
        let mark = [self.marks.begin, self.marks.open].concat();
        let is_mark = |at: &usize| mark.starts_with(&self.held[*at..]) || self.held[*at..].starts_with(&mark);
        let at = self.held.char_indices().map(|(at, _)| at).find(is_mark).unwrap_or(self.held.len());
        let is_whole = self.held[at..].starts_with(&mark);
        let n_certain = self.held[..at].trim_end().len();
        let words: String = self.held.drain(..n_certain).collect();
        if !words.is_empty() {
            parts.push(Part::Text(words));
        }
        if is_whole {
            self.held.drain(..at - n_certain + mark.len());
            self.state = State::Name;
        }
        is_whole
    }

    fn arguments(&mut self, parts: &mut Vec<Part>) -> bool {
        let State::Arguments { mut depth, mut in_text, mut is_escaped } = self.state else { return false };
        let mut end = None;
        for (at, c) in self.held.char_indices() {
            if is_escaped {
                is_escaped = false;
            } else if in_text {
                match c {
                    '\\' => is_escaped = true,
                    '"' => in_text = false,
                    _ => {}
                }
            } else {
                match c {
                    '"' => in_text = true,
                    '{' | '[' => depth += 1,
                    '}' | ']' => {
                        depth = depth.saturating_sub(1);
                        if depth == 0 {
                            end = Some(at + c.len_utf8());
                            break;
                        }
                    }
                    _ => {}
                }
            }
        }
        let text: String = self.held.drain(..end.unwrap_or(self.held.len())).collect();
        self.state = if end.is_some() { State::Behind } else { State::Arguments { depth, in_text, is_escaped } };
        if !text.is_empty() {
            parts.push(Part::Arguments(text));
        }
        end.is_some()
    }

    fn behind(&mut self) -> bool {
        if self.names.is_some() {
            // The object ends.
            let Some(first) = self.held.trim_start().chars().next() else { return false };
            self.held = self.held.trim_start()[first.len_utf8()..].to_owned();
            self.state = if first == '}' { State::Between } else { State::Over };
            return true;
        }
        let next = self.marks.next.map(|next| [self.marks.close, next, self.marks.open].concat());
        let end = [self.marks.close, self.marks.end].concat();
        let may_come = |text: &str| text.len() > self.held.len() && text.starts_with(&self.held);
        if let Some(next) = next.as_ref().filter(|next| self.held.starts_with(next.as_str())) {
            self.held.drain(..next.len());
            self.state = State::Name;
            return true;
        }
        if next.is_some_and(|next| may_come(&next)) || may_come(&end) {
            return false;
        }
        self.state = State::Over;
        true
    }

    fn between(&mut self, parts: &mut Vec<Part>) -> bool {
        let rest = self.held.trim_start();
        match opening(rest, self.names.as_deref().unwrap_or_default()) {
            Opening::Yes { name, n } => {
                self.held = rest[n..].to_owned();
                self.begin(name, parts);
                true
            }
            Opening::Partial => false,
            Opening::No => {
                self.state = State::Over;
                true
            }
        }
    }

    /// A call's arguments begin.
    fn begin(&mut self, name: String, parts: &mut Vec<Part>) {
        parts.push(Part::Name(name));
        self.state = State::Arguments { depth: 0, in_text: false, is_escaped: false };
    }
}
