//! Reads a template before the engine does: refuses what no chat template needs and no engine bounds, and puts the
//! filters of `bounds` behind every value that gets a name.
//!
//! Names come from `for`, `set` and `with`, from the parameters of macros and `call` blocks, from `caller`, and from what
//! a recursive loop is called with. The engine parses, compiles and drops a chain of operators by recursion, one frame a
//! link, so a tag has a largest length.

use super::bounds::{KEEP, PUT};
use super::expressions;
use super::lexer::{self, Fault, Found, Kind};
use super::words::{Edit, Words};
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
    let has_caller = source.contains("caller");
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
                n_elif += usize::from(tag.is_block && words.text(0) == "elif");
                if n_elif > MAX_ELIF {
                    return Err((start, "it has too many branches"));
                }
                out.push_str(&guarded(&words, start, has_caller)?);
                tag.end
            }
        };
    }
    out.push_str(&source[at..]);
    Ok(out)
}

/// The tag with filters where they are needed.
fn guarded(words: &Words, start: usize, has_caller: bool) -> Result<String, Fault> {
    let tokens = words.tokens();
    if tokens.len() > MAX_TOKENS {
        return Err((start, "an expression is too long"));
    }
    let mut edits = expressions::edits(words)?;
    let close = words.tag.close;
    let begin = |n: usize| tokens.get(n).map_or(close, |token| token.at.start);
    let mut wrap = |from: usize, to: usize, filter: &str| {
        edits.extend([(from..from, "(".to_owned()), (to..to, format!(")|{filter} "))]);
    };
    match words.text(0) {
        _ if !words.tag.is_block => {}
        "for" => {
            let values = words.all("in", 0).next().ok_or((start, "a loop has no `in`"))?;
            let is_recursive = words.text(tokens.len() - 1) == "recursive";
            let last = tokens.len() - usize::from(is_recursive);
            let end = words.all("if", values).next().unwrap_or(last);
            wrap(tokens[values].at.end, begin(end), KEEP);
        }
        "set" => {
            let behind_target = words.all("=", 0).chain(words.all("|", 0)).min();
            let n_target = behind_target.unwrap_or(tokens.len());
            let filter = if (0..n_target).any(|n| words.text(n) == ".") { PUT } else { KEEP };
            match behind_target.map(|n| (words.text(n), tokens[n].at.end)) {
                Some(("=", values)) => wrap(values, close, filter),
                // What is written up to `endset` goes through filters of the template first.
                Some(_) => edits.push((close..close, format!("|{filter} "))),
                None => {}
            }
        }
        "with" => {
            for assign in words.all("=", 0) {
                let next = words.all(",", assign).next().unwrap_or(tokens.len());
                wrap(tokens[assign].at.end, begin(next), KEEP);
            }
        }
        "macro" => edits.extend(parameters(words, 2, has_caller)),
        "call" => edits.extend(parameters(words, 1, has_caller)),
        // Marks for training; Hugging Face writes what is inside.
        "generation" => edits.push((tokens[0].at.clone(), "if true".to_owned())),
        "endgeneration" => edits.push((tokens[0].at.clone(), "endif".to_owned())),
        _ => {}
    }
    Ok(words.edited(start, edits))
}

/// Behind the tag of a macro or `call`, every parameter is set to its kept self; the tag's own end comes last. `open` is
/// where the parameters' bracket may stand.
fn parameters(words: &Words, open: usize, has_caller: bool) -> Option<Edit> {
    let tokens = words.tokens();
    let close = (words.text(open) == "(").then(|| words.partner(open)).flatten();
    let is_name = |&n: &usize| {
        let opens = n == open + 1 || (words.text(n - 1) == "," && tokens[n - 1].depth == 1);
        opens && tokens[n].kind == Kind::Name
    };
    let names = (open + 1..close.unwrap_or(0)).filter(is_name).map(|n| words.text(n));
    let mut sets = String::new();
    for name in names {
        sets.extend(["%}{% set ", name, " = ", name, "|", KEEP, " "]);
    }
    if has_caller {
        // The engine hands it over where it is used before it is set.
        sets.extend(["%}{% if caller is defined %}{% set caller = caller|", KEEP, " %}{% endif "]);
    }
    (!sets.is_empty()).then_some((words.tag.close..words.tag.close, sets))
}
