//! What can be spelled with the tokens of a vocabulary.

use std::collections::HashSet;

/// Which characters a vocabulary can spell.
#[derive(Debug)]
pub(super) struct Spelling {
    bytes: [bool; 256],
    /// Tokens of one character.
    characters: HashSet<char>,
    /// Characters of all tokens.
    in_tokens: HashSet<char>,
}

impl Spelling {
    /// From the texts of all tokens, as they stand in the file.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut spelling = Self { bytes: [false; 256], characters: HashSet::new(), in_tokens: HashSet::new() };
        for text in texts {
            if let [byte] = text {
                spelling.bytes[usize::from(*byte)] = true;
            }
            let hex = text.strip_prefix(b"<0x").and_then(|rest| rest.strip_suffix(b">")).filter(|hex| hex.len() == 2);
            // llama.cpp looks for capitals only.
            let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok()).filter(|hex| *hex == hex.to_uppercase());
            if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                spelling.bytes[usize::from(byte)] = true;
            }
            if let Ok(text) = std::str::from_utf8(text) {
                let mut characters = text.chars();
                spelling.characters.extend(characters.next().filter(|_| characters.next().is_none()));
                spelling.in_tokens.extend(text.chars());
            }
        }
        spelling
    }

    pub fn has(&self, c: char) -> bool {
        let c = written(c);
        self.characters.contains(&c) || c.encode_utf8(&mut [0; 4]).bytes().all(|byte| self.bytes[usize::from(byte)])
    }

    /// Whether a character is a token of its own.
    pub fn has_token(&self, c: char) -> bool {
        self.characters.contains(&written(c))
    }

    /// Whether a character is in no token.
    pub fn is_foreign(&self, c: char) -> bool {
        !self.in_tokens.contains(&c) && !self.in_tokens.contains(&written(c))
    }
}

/// A character as llama.cpp looks it up.
fn written(c: char) -> char {
    if c == ' ' { '▁' } else { c }
}

#[cfg(test)]
mod tests {
    use super::Spelling;

    #[test]
    fn a_character_is_a_token_or_all_its_bytes_are() {
        let tokens: [&[u8]; 6] = ["▁".as_bytes(), "é".as_bytes(), b"ab", b"<0xC3>", b"<0xA8>", b"<0xbf>"];
        let spelling = Spelling::of(tokens);
        // A space is spelled as what llama.cpp makes of it.
        assert!(!Spelling::of([b"<0x20>".as_slice()]).has(' '));
        for (c, expected) in [(' ', true), ('é', true), ('è', true), ('a', false), ('ÿ', false)] {
            assert_eq!(spelling.has(c), expected, "{c:?}");
        }
    }
}
