//! What the engine does otherwise than Python, or for free, inside of expressions: written as calls of our own filters.
//!
//! - `x[a:b]` becomes `(x|__slice(a,b))`, which does not count marks.
//! - `'…' % x` becomes `('…'|__percent(x))`; the engine has no such operator.
//! - Factors of `*` that are no literals get a filter that lets no list pass, which would be walked for free.
//! - What `loop(…)` is given is made plain, as all that gets a name.

use super::bounds::{KEEP, SCALAR};
use super::lexer::{Fault, Kind};
use super::python::{PERCENT, SLICE};
use super::words::{Edit, Words};

pub(super) fn edits(words: &Words) -> Result<Vec<Edit>, Fault> {
    let mut edits = Vec::new();
    for (n, token) in words.tokens().iter().enumerate() {
        let fault = |reason| (token.at.start, reason);
        match words.text(n) {
            "[" => edits.extend(slice(words, n).ok_or(fault("a slice has no value in front"))?),
            "%" => edits.extend(percent(words, n).ok_or(fault("`%` has no value behind"))?),
            "*" => edits
                .extend(product(words, n).ok_or(fault("`*` is supported between names, numbers and strings only"))?),
            "loop" => edits.extend(recursion(words, n).ok_or(fault("a loop is called by its bare name only"))?),
            _ => {}
        }
    }
    Ok(edits)
}

/// The bracket at `open` as a call, if it is a slice.
fn slice(words: &Words, open: usize) -> Option<Vec<Edit>> {
    let tokens = words.tokens();
    let close = words.partner(open)?;
    let is_colon = |&n: &usize| tokens[n].depth == tokens[open].depth + 1 && words.text(n) == ":";
    let colons: Vec<_> = (open..close).filter(is_colon).collect();
    if colons.is_empty() {
        return Some(Vec::new());
    }
    let start = tokens[words.operand_start(open.checked_sub(1)?)?].at.start;
    let mut edits = vec![(start..start, "(".to_owned()), (tokens[open].at.clone(), format!("|{SLICE}("))];
    for n in colons.iter().copied().chain([close]) {
        let left_out = if n == open + 1 || colons.contains(&(n - 1)) { "none" } else { "" };
        let end = if n == close { "))" } else { "," };
        edits.push((tokens[n].at.clone(), format!("{left_out}{end}")));
    }
    Some(edits)
}

/// `%` at `n` behind a string.
fn percent(words: &Words, n: usize) -> Option<Vec<Edit>> {
    let tokens = words.tokens();
    let Some(format) = n.checked_sub(1).map(|n| &tokens[n]).filter(|token| token.kind == Kind::Text) else {
        return Some(Vec::new());
    };
    let end = tokens[words.operand_end(n + 1)?].at.end;
    let start = format.at.start;
    Some(vec![
        (start..start, "(".to_owned()),
        (tokens[n].at.clone(), format!("|{PERCENT}(")),
        (end..end, "))".to_owned()),
    ])
}

/// The filters beside `*` at `n`; a string beside it lets no list pass either.
fn product(words: &Words, n: usize) -> Option<Vec<Edit>> {
    let tokens = words.tokens();
    let left = n.checked_sub(1);
    if left.is_some_and(|left| matches!(words.text(left), "(" | ",")) {
        // Arguments out of a list, which are paid for.
        return Some(Vec::new());
    }
    let goes_on = matches!(words.text(n + 2), "." | "[" | "(" | "|");
    let right = tokens.get(n + 1).filter(|right| right.kind != Kind::Symbol && !goes_on);
    let left = &tokens[left?];
    let is_text = |token| token == Kind::Text;
    if is_text(left.kind) || tokens.get(n + 1).is_some_and(|right| is_text(right.kind) && !goes_on) {
        return Some(Vec::new());
    }
    Some([left.at.end, right?.at.end].map(|at| (at..at, format!("|{SCALAR} "))).into())
}

/// `loop` at `n`, which may be a call.
fn recursion(words: &Words, n: usize) -> Option<Vec<Edit>> {
    let tokens = words.tokens();
    let is_attribute = n.checked_sub(1).is_some_and(|before| words.text(before) == ".");
    let behind = (n + 1..=tokens.len()).find(|&n| words.text(n) != ")")?;
    if is_attribute || words.text(behind) != "(" {
        return Some(Vec::new());
    }
    let close = words.partner(behind)?;
    if behind > n + 1 {
        return None;
    }
    let (from, to) = (tokens[behind].at.end, tokens[close].at.start);
    Some(vec![(from..from, "(".to_owned()), (to..to, format!(")|{KEEP} "))])
}
