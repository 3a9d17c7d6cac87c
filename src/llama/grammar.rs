//! Grammars on their way to llama.cpp, whose parser follows nesting with its own stack.

use super::{Error, gbnf, schema};

/// A GBNF grammar of more bytes is refused.
pub const MAX_BYTES: usize = 64 << 10;
/// Of a thread on which llama.cpp goes through a schema, as deep as it nests and as long as its texts are.
const STACK_BYTES: usize = 64 << 20;
/// A schema may unfold into a grammar of at most this many bytes.
const MAX_UNFOLDED_BYTES: usize = 1 << 20;

/// Refuses what would run llama.cpp's grammar parser out of stack.
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
    let depth = depth(grammar, ["(", ")"], &[('"', '"'), ('[', ']')], true);
    if depth > gbnf::MAX_DEPTH {
        return refused(format!("its parentheses nest {depth} deep, at most {} are accepted", gbnf::MAX_DEPTH));
    }
    gbnf::check(grammar).or_else(refused)
}

/// The grammar of the JSON documents that a schema describes.
pub fn from_json_schema(schema: &str) -> Result<String, Error> {
    let refused = |reason: String| Err(Error::Schema { reason });
    if schema.len() > MAX_BYTES {
        return refused(format!("it has {} bytes, at most {MAX_BYTES} are accepted", schema.len()));
    }
    let depth = depth(schema, ["{[", "}]"], &[('"', '"')], false);
    if depth > schema::MAX_DEPTH {
        return refused(format!("it nests {depth} deep, at most {} levels are accepted", schema::MAX_DEPTH));
    }
    let schema = match serde_json::from_str::<serde_json::Value>(schema) {
        Ok(value) if value.is_object() => value,
        Ok(value) => return refused(format!("expected an object, got {value}")),
        Err(error) => return refused(format!("it is not JSON: {error}")),
    };
    let schema = match schema::check(schema) {
        Ok(schema) => schema.to_string(),
        Err(reason) => return refused(reason),
    };
    let unfold = || llama_cpp_2::json_schema_to_grammar(&schema);
    let unfolded = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, unfold);
        thread.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let grammar = match unfolded {
        Ok(Ok(grammar)) => grammar,
        Ok(Err(_)) => return refused("llama.cpp does not know one of its types, formats or references".to_owned()),
        Err(error) => return refused(format!("there is no thread for it: {error}")),
    };
    if grammar.len() > MAX_UNFOLDED_BYTES {
        let n = grammar.len();
        return refused(format!("it unfolds to {n} bytes of grammar, at most {MAX_UNFOLDED_BYTES} are accepted"));
    }
    match gbnf::check(&grammar) {
        Ok(()) => Ok(grammar),
        Err(reason) => refused(format!("of the grammar that it unfolds to: {reason}")),
    }
}

/// How deep the brackets of `nest` nest. What stands between the delimiters of `quotes` does not count, a backslash
/// escapes, and `#` starts a comment where `comments` are known.
fn depth(text: &str, nest: [&str; 2], quotes: &[(char, char)], comments: bool) -> usize {
    let [open, close] = nest;
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if let Some((_, end)) = quotes.iter().find(|(begin, _)| *begin == c) {
            while let Some(c) = chars.next() {
                match c {
                    '\\' => drop(chars.next()),
                    c if c == *end => break,
                    _ => {}
                }
            }
        } else if comments && c == '#' {
            chars.by_ref().find(|&c| c == '\n');
        } else if open.contains(c) {
            depth += 1;
            deepest = deepest.max(depth);
        } else if close.contains(c) {
            depth = depth.saturating_sub(1);
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

    #[test]
    fn schemas_become_grammars_or_reasons() {
        let grammar = from_json_schema(r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#);
        assert!(grammar.expect("a plain schema").contains("root ::="));
        for schema in ["{", "[]", r#"{"type":"nonsense"}"#, &"[".repeat(5000)] {
            assert!(matches!(from_json_schema(schema), Err(Error::Schema { .. })), "{schema:.20}");
        }
    }
}
