//! Regular expressions of JavaScript's, which JSON schemas have, for a library that has Rust's.

/// White space and line ends in JavaScript, as members of a class.
const SPACE: &str = r"\t\n\x0b\x0c\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";
const LINE_ENDS: &str = r"\n\r\u{2028}\u{2029}";

/// The same with what the two languages mean differently written out: `\s`, `\S` and the dot. Digits and word characters are
/// ASCII's in both here.
pub(super) fn as_javascript_has_it(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut in_class = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('s') if in_class => out.push_str(SPACE),
                Some('s') => out.extend(["[", SPACE, "]"]),
                Some('S') => out.extend(["[^", SPACE, "]"]),
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push('\\'),
            },
            '.' if !in_class => out.extend(["[^", LINE_ENDS, "]"]),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
            }
            // What opens a class in a class is a character in JavaScript.
            '[' => out.push_str("\\["),
            ']' => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_stays_as_it_is() {
        for pattern in [r"^\d{4}-[a-z\]\\]+\.$", r"a\/b|(?:c)?", "é+", "[^-x]", "\\"] {
            assert_eq!(as_javascript_has_it(pattern), pattern);
        }
        assert_eq!(as_javascript_has_it(r"[\s.[&&]"), format!(r"[{SPACE}.\[\&\&]"));
        assert_eq!(as_javascript_has_it(r".\S"), format!("[^{LINE_ENDS}][^{SPACE}]"));
    }
}
