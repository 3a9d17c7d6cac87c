//! A tag's tokens with their text, and the tag written anew.

use std::ops::Range;

use super::lexer::{Kind, Tag, Token};

/// Text in place of a range of the source; of edits at one place, those that were found first come first.
pub(super) type Edit = (Range<usize>, String);

/// What has an operand behind it and ends none.
const KEYWORDS: [&str; 14] =
    ["and", "or", "not", "in", "is", "if", "else", "elif", "for", "set", "with", "call", "do", "filter"];

pub(super) struct Words<'a> {
    pub source: &'a str,
    pub tag: &'a Tag,
}

impl<'a> Words<'a> {
    pub fn tokens(&self) -> &'a [Token] {
        &self.tag.tokens
    }

    /// The text of token `n`; empty where there is none.
    pub fn text(&self, n: usize) -> &'a str {
        self.tokens().get(n).map_or("", |token| &self.source[token.at.clone()])
    }

    /// The places of the tokens outside of brackets that are `word`, from a token on.
    pub fn all(&self, word: &'a str, from: usize) -> impl Iterator<Item = usize> {
        (from..self.tokens().len()).filter(move |&n| self.tokens()[n].depth == 0 && self.text(n) == word)
    }

    /// The other bracket of a pair.
    pub fn partner(&self, n: usize) -> Option<usize> {
        let is_level = |m: &usize| self.tokens()[*m].depth == self.tokens()[n].depth;
        if self.closes(n) { (0..n).rfind(is_level) } else { (n + 1..self.tokens().len()).find(is_level) }
    }

    pub fn opens(&self, n: usize) -> bool {
        matches!(self.text(n), "(" | "[" | "{")
    }

    fn closes(&self, n: usize) -> bool {
        matches!(self.text(n), ")" | "]" | "}")
    }

    /// The first token of the operand that `last` ends: a name, literal or bracket with all that hangs on it.
    pub fn operand_start(&self, last: usize) -> Option<usize> {
        let ends_operand = |n: usize| match self.tokens()[n].kind {
            Kind::Symbol => self.closes(n),
            Kind::Name => !KEYWORDS.contains(&self.text(n)),
            Kind::Number | Kind::Text => true,
        };
        let mut n = last;
        loop {
            let before = if self.closes(n) {
                n = self.partner(n)?;
                n.checked_sub(1).filter(|&before| ends_operand(before))
            } else {
                n.checked_sub(2).filter(|_| self.text(n - 1) == ".")
            };
            match before {
                Some(before) => n = before,
                None => return Some(n),
            }
        }
    }

    /// The last token of the operand that `first` begins, signs before and filters behind it included.
    pub fn operand_end(&self, first: usize) -> Option<usize> {
        let mut n = first;
        while matches!(self.text(n), "-" | "+") {
            n += 1;
        }
        n = if self.opens(n) { self.partner(n)? } else { n };
        loop {
            n = match self.text(n + 1) {
                "." | "|" => n + 2,
                "(" | "[" => self.partner(n + 1)?,
                _ => return (n < self.tokens().len()).then_some(n),
            };
        }
    }

    /// The tag with its edits.
    pub fn edited(&self, start: usize, mut edits: Vec<Edit>) -> String {
        edits.sort_by_key(|(at, _)| at.start);
        let mut out = String::new();
        let mut from = start;
        for (at, text) in edits {
            out.push_str(&self.source[from..at.start]);
            out.push_str(&text);
            from = at.end;
        }
        out.push_str(&self.source[from..self.tag.end]);
        out
    }
}
