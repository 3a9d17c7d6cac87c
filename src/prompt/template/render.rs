//! Turns go through a template and are found again in what it wrote.

use super::values::Spoken;
use super::{Given, Template};
use crate::prompt::marks::{self, Span};
use crate::prompt::piece::{Piece, Pieces};
use crate::prompt::turns::{self, Turn};
use crate::prompt::{Error, Speaker, Toolbox};

/// The turns as the template writes them, then the prefix of the next answer.
///
/// A system message that the template refuses or leaves out goes in front of the first user message.
pub(in crate::prompt) fn render(
    template: &Template,
    turns: &[Turn],
    tools: Option<&Toolbox>,
    prefix: &str,
) -> Result<Vec<Piece>, Error> {
    for turn in turns {
        if let Some(found) = marks::reserved(&turn.text) {
            return Err(Error::Marker { speaker: turn.speaker, found });
        }
    }
    let now = (template.clock)();
    let write = |turns: &[Turn]| Written::of(template, Given { turns, tools, now: &now });
    let mut written = write(turns);
    let has_system = turns.iter().any(|turn| turn.speaker == Speaker::System);
    let is_lost = match &written {
        Ok(written) => written.lost_system,
        Err(error) => matches!(error, Error::Render { .. }),
    };
    if has_system && is_lost {
        written = write(&turns::merged(turns));
    }
    if written.is_err() && !turns.iter().any(|turn| turn.speaker == Speaker::User) {
        // No user message was wanted, but most templates cannot do without.
        let with_user: Vec<_> = turns.iter().cloned().chain([Turn::new(Speaker::User, "")]).collect();
        written = write(&with_user).or(written);
    }
    let mut pieces = written?.pieces;
    pieces.content(prefix);
    Ok(pieces.into_vec())
}

struct Written {
    pieces: Pieces,
    /// A system message did not come out.
    lost_system: bool,
}

impl Written {
    fn of(template: &Template, given: Given<'_>) -> Result<Self, Error> {
        let turns = given.turns;
        let texts: Vec<_> = turns.iter().map(|turn| turn.text.to_string()).collect();
        let mut spoken = Spoken::default();
        let plain = template.write(given, &texts, &mut spoken)?;
        if let Some(found) = spoken.found() {
            return Err(Error::Marker { speaker: Speaker::Tool, found });
        }
        let answer = |n: usize| {
            let turn = turns.get(n).filter(|turn| turn.speaker == Speaker::Assistant)?;
            Some(turn.text.trim())
        };
        // First all messages, then without the answers.
        for with_answers in [true, false] {
            let is_marked = |n: usize, turn: &Turn| turn.has_text() && (with_answers || answer(n).is_none());
            let text = |(n, turn): (usize, &Turn)| {
                if is_marked(n, turn) { marks::marked(n, &turn.text) } else { turn.text.to_string() }
            };
            let texts: Vec<_> = turns.iter().enumerate().map(text).collect();
            let mut spoken = Spoken::marked(turns.len());
            let written = match template.write(given, &texts, &mut spoken) {
                // With the marks a template must write what it writes without; if not, it looked into a message.
                Ok(written) if marks::bare(&written) == marks::bare(&plain) => written,
                Err(Error::Work) => return Err(Error::Work),
                _ => continue,
            };
            match marks::split(&written, turns.len() + spoken.n_marks(), answer) {
                Ok(spans) => return Ok(Self::put_together(turns, &spans)),
                Err(broken) => {
                    if let Some(&n) = broken.messages.first() {
                        let speaker = turns.get(n).map_or(Speaker::Tool, |turn| turn.speaker);
                        return Err(Error::Cut { speaker });
                    }
                }
            }
            // What cannot be marked counts as the template's: no place for what looks like its tokens.
            if let Some(n) = (0..turns.len()).find(|&n| answer(n).is_some_and(|text| text.contains(['<', '[']))) {
                return Err(Error::Cut { speaker: turns[n].speaker });
            }
        }
        Err(Error::Unclear)
    }

    fn put_together(turns: &[Turn], spans: &[Span]) -> Self {
        let mut pieces = Pieces::default();
        let mut came_out = vec![false; turns.len()];
        // The white space around a message is its own where the template left it there.
        let around = |n: usize| match spans.get(n) {
            Some(Span::Marked { index, .. }) => turns.get(*index).map(|turn| marks::outer(&turn.text)),
            _ => None,
        };
        for (n, span) in spans.iter().enumerate() {
            match *span {
                Span::Template(text) => {
                    let after = n.checked_sub(1).and_then(around).map_or("", |(_, _, after)| after);
                    let (after, text) = text.strip_prefix(after).map_or(("", text), |rest| (after, rest));
                    let before = around(n + 1).map_or("", |(before, _, _)| before);
                    let (text, before) = text.strip_suffix(before).map_or((text, ""), |rest| (rest, before));
                    let tokens_before = n.checked_sub(1).is_some_and(|n| is_generated(turns, &spans[n]));
                    let tokens_after = spans.get(n + 1).is_some_and(|span| is_generated(turns, span));
                    pieces.content(if tokens_before { "" } else { after });
                    pieces.template(text);
                    pieces.content(if tokens_after { "" } else { before });
                }
                // Of tools and calls.
                Span::Marked { index, text } if index >= turns.len() => pieces.content(text),
                Span::Marked { index, text } => {
                    came_out[index] = true;
                    match turns[index].generated {
                        Some(generated) if is_generated(turns, span) => pieces.generated(generated),
                        _ => pieces.content(text),
                    }
                }
            }
        }
        let lost = |n: usize| turns[n].speaker == Speaker::System && turns[n].has_text() && !came_out[n];
        Self { pieces, lost_system: (0..turns.len()).any(lost) }
    }
}

/// Whether a generated answer came out whole, so that its tokens stand for it, outer white space and all.
fn is_generated(turns: &[Turn], span: &Span) -> bool {
    match *span {
        Span::Marked { index, text } => {
            turns.get(index).is_some_and(|turn| turn.generated.is_some() && turn.text.trim() == text)
        }
        Span::Template(_) => false,
    }
}
