//! Grammars on their way to llama.cpp, whose parser follows nesting with its own stack.

use super::{Error, gbnf};
use crate::constraint::Form;
use crate::sampling::Sampling;

/// A GBNF grammar of more bytes is refused.
pub const MAX_BYTES: usize = 64 << 10;

/// Refuses what would run llama.cpp's grammar parser out of stack, or its matcher out of time.
pub fn check(grammar: &str) -> Result<(), Error> {
    let refused = |reason: String| Err(Error::Grammar { reason });
    if grammar.trim().is_empty() {
        return refused("it is empty, expected a rule `root ::= …`".to_owned());
    }
    // llama.cpp prints what it cannot parse on stderr, as it is.
    if let Some(c) = grammar.chars().find(|&c| c.is_control() && !"\n\r\t".contains(c)) {
        let c = u32::from(c);
        return refused(format!("it holds the control character U+{c:04X}, expected it spelled as \\x{c:02X}"));
    }
    if grammar.len() > MAX_BYTES {
        return refused(format!("it has {} bytes, at most {MAX_BYTES} are accepted", grammar.len()));
    }
    let depth = depth(grammar);
    if depth > gbnf::MAX_DEPTH {
        return refused(format!("its parentheses nest {depth} deep, at most {} are accepted", gbnf::MAX_DEPTH));
    }
    // One that llama.cpp is not given has no ways to walk.
    if Form::of(&Sampling { grammar: Some(grammar.to_owned()), ..Sampling::default() }).is_some() {
        return Ok(());
    }
    gbnf::check(grammar).or_else(refused)
}

/// How deep the parentheses nest. What stands in literals and classes does not count, a backslash escapes, and `#` starts a
/// comment.
fn depth(grammar: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut chars = grammar.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' | '[' => {
                let end = if c == '[' { ']' } else { c };
                while let Some(c) = chars.next() {
                    match c {
                        '\\' => drop(chars.next()),
                        c if c == end => break,
                        _ => {}
                    }
                }
            }
            '#' => drop(chars.by_ref().find(|&c| c == '\n')),
            '(' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_and_size_are_bounded() {
        assert!(check("root ::= \"a\"").is_ok());
        for grammar in [String::new(), "(".repeat(5000), "a".repeat(MAX_BYTES + 1), "root ::= \"a\"{5,2}".to_owned()] {
            assert!(matches!(check(&grammar), Err(Error::Grammar { .. })));
        }
    }

    #[test]
    fn brackets_in_literals_classes_and_comments_do_not_close() {
        for inside in ["\"))))\"", "[))))]", "# ))))\n", "\"\\\"))))\"", "[\\]))))]"] {
            let grammar = format!("root ::= {}", format!("(((({inside} ").repeat(100));
            assert!(check(&grammar).is_err(), "{inside}");
            assert!(check(&format!("root ::= {}", format!("({inside}) ").repeat(1000))).is_ok(), "{inside}");
        }
    }
}
