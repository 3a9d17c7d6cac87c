//! Cuts of a long text that llama.cpp tokenises as it would the whole.
//!
//! llama.cpp walks the list of all fragments for each name that it finds in a text, and copies all tokens for each
//! character that SentencePiece spells byte by byte: both make the time grow with the square of the text's length. A
//! text is therefore handed over in parts. They end
//! - behind a name that llama.cpp reads: what is before and behind a name is tokenised apart in any case;
//! - behind a character that is in no token of a SentencePiece vocabulary: no merge reaches over it.

use std::ops::Range;

use super::specials::{Found, Specials};
use super::spelling::Spelling;

/// How long a part may be: it ends at the next chance behind one of these.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub n_names: usize,
    pub n_bytes: usize,
}

/// Short for llama.cpp, and long beside what a call costs.
pub(super) const LIMITS: Limits = Limits { n_names: 64, n_bytes: 2048 };

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub text: &'a str,
    /// The foreign character that the part goes on from. Without one the part begins anew, as a text behind a name does.
    pub front: Option<&'a str>,
}

/// The parts of a text in which the names are read that `is_read` allows. `spelling` is that of a SentencePiece
/// vocabulary.
pub(super) fn parts<'a>(
    text: &'a str,
    specials: &Specials,
    is_read: impl Fn(&Found) -> bool,
    spelling: Option<&Spelling>,
    limits: Limits,
) -> Vec<Part<'a>> {
    if text.len() <= limits.n_names {
        return vec![Part { text, front: None }];
    }
    let names = specials.find(text, is_read);
    let mut cutter = Cutter { text, limits, parts: Vec::new(), from: 0, front: None };
    let mut n_names = 0;
    let mut before: Option<&Found> = None;
    for next in names.iter().map(Some).chain([None]) {
        if n_names >= limits.n_names && before.is_some_and(|name| cutter.can_end_behind(name)) {
            cutter.end(before.map_or(0, |(place, _)| place.end), None);
            n_names = 0;
        }
        if let Some(spelling) = spelling {
            n_names *= usize::from(!cutter.end_behind_foreign(spelling, before, next));
        }
        n_names += 1;
        before = next;
    }
    cutter.end(text.len(), None);
    cutter.parts
}

struct Cutter<'a> {
    text: &'a str,
    limits: Limits,
    parts: Vec<Part<'a>>,
    /// Where the next part begins.
    from: usize,
    front: Option<Range<usize>>,
}

impl Cutter<'_> {
    fn end(&mut self, at: usize, next_front: Option<Range<usize>>) {
        let front = std::mem::replace(&mut self.front, next_front).map(|front| &self.text[front]);
        self.parts.push(Part { text: &self.text[self.from..at], front });
        self.from = at;
    }

    fn can_end_behind(&self, (place, special): &Found) -> bool {
        let rest = &self.text[place.end..];
        let takes_more = special.strips_right && rest.starts_with(is_space);
        !rest.is_empty() && !takes_more
    }

    /// Ends parts between two names; answers whether it did.
    fn end_behind_foreign(&mut self, spelling: &Spelling, before: Option<&Found>, next: Option<&Found>) -> bool {
        let start = before.map_or(0, |(place, _)| place.end);
        let end = next.map_or(self.text.len(), |(place, _)| place.start);
        // White space that a name takes with it stays in one part with it.
        let mut between = &self.text[start..end];
        if before.is_some_and(|(_, special)| special.strips_right) {
            between = between.trim_start_matches(is_space);
        }
        let first = end - between.len();
        if next.is_some_and(|(_, special)| special.strips_left) {
            between = between.trim_end_matches(is_space);
        }
        let n_parts = self.parts.len();
        for (offset, c) in between.char_indices() {
            let front = first + offset..first + offset + c.len_utf8();
            if front.end - self.from >= self.limits.n_bytes && front.end < self.text.len() && spelling.is_foreign(c) {
                self.end(front.end, Some(front));
            }
        }
        self.parts.len() > n_parts
    }
}

/// C's `isspace`.
fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}
