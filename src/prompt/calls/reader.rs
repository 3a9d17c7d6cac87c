//! Calls read back out of an answer, piece by piece.

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
    held: String,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Words, or a call's beginning.
    Words,
    /// No call comes any more.
    Only,
    Name,
    Arguments {
        depth: usize,
        in_text: bool,
        is_escaped: bool,
    },
    /// Behind a call's arguments.
    Behind,
    /// Behind the last call.
    Over,
}

impl Reader {
    #[must_use]
    pub fn new(style: CallStyle) -> Self {
        Self { marks: style.marks(), held: String::new(), state: State::Words }
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
        let is_words = matches!(self.state, State::Words | State::Only);
        if is_words && !rest.is_empty() { vec![Part::Text(rest)] } else { Vec::new() }
    }

    /// Goes on by a state; whether there may be more to do.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        match self.state {
            State::Words => self.words(parts),
            State::Only | State::Over => {
                let text = std::mem::take(&mut self.held);
                if self.state == State::Only && !text.is_empty() {
                    parts.push(Part::Text(text));
                }
                false
            }
            State::Name => {
                let Some(at) = self.held.find(self.marks.between) else { return false };
                parts.push(Part::Name(self.held[..at].to_owned()));
                self.held.drain(..at + self.marks.between.len());
                self.state = State::Arguments { depth: 0, in_text: false, is_escaped: false };
                true
            }
            State::Arguments { .. } => self.arguments(parts),
            State::Behind => self.behind(),
        }
    }

    fn words(&mut self, parts: &mut Vec<Part>) -> bool {
        let opening = [self.marks.begin, self.marks.open].concat();
        if self.marks.trigger.is_empty() {
            // A call is the whole answer or there is none.
            if self.held.starts_with(&opening) {
                self.held.drain(..opening.len());
                self.state = State::Name;
            } else if !opening.starts_with(&self.held) {
                self.state = State::Only;
            } else {
                return false;
            }
            return true;
        }
        if let Some(at) = self.held.find(&opening) {
            // White space in front of a call belongs to neither.
            let words = self.held[..at].trim_end().to_owned();
            if !words.is_empty() {
                parts.push(Part::Text(words));
            }
            self.held.drain(..at + opening.len());
            self.state = State::Name;
            return true;
        }
        let n = self.n_certain(&opening);
        if n > 0 {
            parts.push(Part::Text(self.held.drain(..n).collect()));
        }
        false
    }

    /// Bytes that belong to no call whatever comes: all but white space at the end, or that and a part of an opening.
    fn n_certain(&self, opening: &str) -> usize {
        let is_opening = |at: &usize| opening.starts_with(&self.held[*at..]);
        let mut starts = self.held.char_indices().map(|(at, _)| at);
        let at = starts.find(is_opening).unwrap_or(self.held.len());
        self.held[..at].trim_end().len()
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
}
