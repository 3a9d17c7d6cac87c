//! Reads a template before the engine does: refuses what no chat template needs and no engine bounds, and puts the
//! filters of `bounds` behind every value that gets a name.
//!
//! The engine parses, compiles and drops a chain of operators by recursion, one frame a link, so a tag has a largest
//! length. `recursive` loops, `call` blocks and `with` give values names in ways that no filter can be put behind, and
//! a list multiplied by a number is walked for free; published chat templates do without all four.

use std::ops::Range;

use super::bounds::{KEEP, PUT, SCALAR};
use super::lexer::{self, Fault, Found, Kind, Tag, Token};
use crate::prompt::Error;

/// Tokens in one tag.
const MAX_TOKENS: usize = 500;
/// `elif` in a template; the engine nests them.
const MAX_ELIF: usize = 100;

/// The template to compile, line for line.
pub(super) fn guard(source: &str) -> Result<String, Error> {
    rewrite(source).map_err(|(at, reason)| Error::Syntax {
        line: 1 + source.bytes().take(at).filter(|&byte| byte == b'\n').count(),
        reason: reason.to_owned(),
    })
}

fn rewrite(source: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(source.len() * 2);
    let mut n_elif = 0;
    let mut at = 0;
    while let Some(start) = lexer::next(source, at) {
        out.push_str(&source[at..start]);
        at = match lexer::read(source, start)? {
            Found::Skip(end) => {
                out.push_str(&source[start..end]);
                end
            }
            Found::Tag(tag) => {
                let words = Words { source, tag: &tag };
                n_elif += usize::from(tag.is_block && words.first() == "elif");
                if n_elif > MAX_ELIF {
                    return Err((start, "it has too many branches"));
                }
                out.push_str(&words.guarded(start)?);
                tag.end
            }
        };
    }
    out.push_str(&source[at..]);
    Ok(out)
}

struct Words<'a> {
    source: &'a str,
    tag: &'a Tag,
}

impl<'a> Words<'a> {
    fn text(&self, token: &Token) -> &'a str {
        &self.source[token.at.clone()]
    }

    fn first(&self) -> &'a str {
        self.tag.tokens.first().map_or("", |token| self.text(token))
    }

    /// The first token outside of brackets that is `word`, from a place on.
    fn find(&self, word: &str, from: usize) -> Option<&Range<usize>> {
        let tokens = self.tag.tokens.iter().filter(|token| token.depth == 0 && token.at.start >= from);
        tokens.map(|token| &token.at).find(|at| &self.source[(*at).clone()] == word)
    }

    /// The tag with filters where they are needed.
    fn guarded(&self, start: usize) -> Result<String, Fault> {
        let Tag { tokens, close, end, .. } = self.tag;
        if tokens.len() > MAX_TOKENS {
            return Err((start, "an expression is too long"));
        }
        if let Some(token) = tokens.iter().find(|token| token.kind == Kind::Name && self.text(token) == "caller") {
            return Err((token.at.start, "`caller` is not supported"));
        }
        let mut insert = self.products()?;
        let mut wrap = |from: usize, to: usize, filter: &str| {
            insert.extend([(from, "(".to_owned()), (to, format!(")|{filter} "))]);
        };
        match self.first() {
            _ if !self.tag.is_block => {}
            "for" if tokens.last().is_some_and(|token| self.text(token) == "recursive") => {
                return Err((start, "a recursive loop is not supported"));
            }
            "for" => {
                let values = self.find("in", start).ok_or((start, "a loop has no `in`"))?.end;
                wrap(values, self.find("if", values).map_or(*close, |at| at.start), KEEP);
            }
            "set" => {
                if let Some(assign) = self.find("=", start) {
                    let target = tokens.iter().take_while(|token| token.at.start < assign.start);
                    let is_attribute = target.into_iter().any(|token| self.text(token) == ".");
                    wrap(assign.end, *close, if is_attribute { PUT } else { KEEP });
                }
            }
            "macro" => insert.extend(self.parameters()),
            // Marks for training; Hugging Face writes what is inside.
            "generation" => return Ok(self.replaced(start, "if true")),
            "endgeneration" => return Ok(self.replaced(start, "endif")),
            "call" => return Err((start, "`call` is not supported")),
            "with" => return Err((start, "`with` is not supported")),
            _ => {}
        }
        // Stable: at one place, what was found first comes first.
        insert.sort_by_key(|(at, _)| *at);
        let mut out = String::new();
        let mut from = start;
        for (at, text) in insert {
            out.push_str(&self.source[from..at]);
            out.push_str(&text);
            from = at;
        }
        out.push_str(&self.source[from..*end]);
        Ok(out)
    }

    /// Filters beside each `*` that let no list pass; a string beside it lets none pass either.
    fn products(&self) -> Result<Vec<(usize, String)>, Fault> {
        let tokens = &self.tag.tokens;
        let mut insert = Vec::new();
        for n in (0..tokens.len()).filter(|&n| self.text(&tokens[n]) == "*") {
            let left = n.checked_sub(1).map(|n| &tokens[n]);
            let goes_on = tokens.get(n + 2).is_some_and(|token| matches!(self.text(token), "." | "[" | "(" | "|"));
            let right = tokens.get(n + 1).filter(|right| right.kind != Kind::Symbol && !goes_on);
            match (left, right) {
                (Some(Token { kind: Kind::Text, .. }), _) | (_, Some(Token { kind: Kind::Text, .. })) => {}
                (Some(left), Some(right)) => {
                    insert.extend([left.at.end, right.at.end].map(|at| (at, format!("|{SCALAR} "))));
                }
                _ => return Err((tokens[n].at.start, "`*` is supported between names, numbers and strings only")),
            }
        }
        Ok(insert)
    }

    /// Behind a macro's tag every parameter is set to its kept self; the tag's own end comes last.
    fn parameters(&self) -> Option<(usize, String)> {
        let parameters = self.tag.tokens.windows(2).filter(|pair| {
            let opens = matches!((self.text(&pair[0]), pair[0].depth), ("(", 0) | (",", 1));
            opens && pair[1].kind == Kind::Name
        });
        let mut sets = String::new();
        for pair in parameters {
            let name = self.text(&pair[1]);
            sets.extend(["%}{% set ", name, " = ", name, "|", KEEP, " "]);
        }
        (!sets.is_empty()).then_some((self.tag.close, sets))
    }

    fn replaced(&self, start: usize, word: &str) -> String {
        let first = &self.tag.tokens[0].at;
        format!("{}{word}{}", &self.source[start..first.start], &self.source[first.end..self.tag.end])
    }
}
