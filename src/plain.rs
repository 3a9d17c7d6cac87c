//! Words that any terminal can be given, whatever file, model or stranger they come from.

/// `text` with everything spelled out that would move a cursor, change colours, ring, or turn the direction of writing;
/// newlines and tabs stay.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

fn is_plain(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    matches!(c, '\n' | '\t') || !c.is_control() && !turns
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn control_characters_are_spelled_and_words_stay() {
        for (text, expected) in [
            ("Qwen 2.5 – “ж漢😀”\n\tα", "Qwen 2.5 – “ж漢😀”\n\tα"),
            ("\u{1b}[2J\u{7}\r", r"\u{1b}[2J\u{7}\r"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("gguf\u{202e}fdp", r"gguf\u{202e}fdp"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
