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

/// `text` with pictures or names in place of characters that would act on the text around them, or that nobody would see;
/// newlines and tabs stay. Marks of direction that right-to-left text needs, and joiners of emoji, stay too. The page of the
/// server shows text so.
#[must_use]
pub fn visible(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        // The pictures of control characters are in their order.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}').to_string(),
        '\u{7f}' => '\u{2421}'.to_string(),
        c if is_hidden(c) => format!("⟨U+{:04X}⟩", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// A token by itself, with its spaces and line breaks to be seen. What is spelled by nothing ends a text.
#[must_use]
pub fn named(token: &str) -> String {
    if token.is_empty() {
        return "(end)".to_owned();
    }
    visible(&token.replace('\n', "⏎").replace('\t', "⇥")).replace(' ', "␣")
}

fn is_hidden(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::{named, plain, visible};

    #[test]
    fn what_nobody_would_see_is_shown() {
        for (text, expected) in [
            ("a b\n\tж漢😀", "a b\n\tж漢😀"),
            ("\u{1b}[2J\r\u{7f}", "␛[2J␍␡"),
            ("gguf\u{202e}fdp", "gguf⟨U+202E⟩fdp"),
            ("a\u{2028}b\u{9b}\u{e0041}", "a⟨U+2028⟩b⟨U+009B⟩⟨U+E0041⟩"),
        ] {
            assert_eq!(visible(text), expected);
        }
        assert_eq!([" a", "\n\n", ""].map(named), ["␣a", "⏎⏎", "(end)"]);
    }

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
