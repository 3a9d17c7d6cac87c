//! What the small models' tokens stand for, as bytes: how a server's words become ids, and texts are sent to it.

use std::collections::HashMap;

use super::{Error, Token};

/// The vocabulary of the small models, which is the base's too.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// By id: the bytes of an ordinary token, the name of a special one.
    pieces: Vec<Box<[u8]>>,
    /// Special tokens, which stand for no text.
    is_special: Vec<bool>,
    /// They end a text; sorted.
    eog: Vec<Token>,
}

impl Words {
    /// From what each id stands for and whether it is special, and the ids that end a text.
    #[must_use]
    pub fn new(tokens: impl IntoIterator<Item = (Box<[u8]>, bool)>, mut eog: Vec<Token>) -> Self {
        eog.sort_unstable();
        let (pieces, is_special) = tokens.into_iter().unzip();
        Self { pieces, is_special, eog }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The first token that ends a text.
    pub(super) fn eog(&self) -> Option<Token> {
        self.eog.first().copied()
    }

    pub(super) fn is_eog(&self, token: Token) -> bool {
        self.eog.binary_search(&token).is_ok()
    }

    /// The text of an ordinary token, where it is text by itself.
    pub(super) fn text(&self, id: usize) -> Option<&str> {
        let is_ordinary = !*self.is_special.get(id)?;
        std::str::from_utf8(&self.pieces[id]).ok().filter(|text| is_ordinary && !text.is_empty())
    }

    /// A token that is text by itself and ends nothing, to be forced where any will do.
    pub(super) fn filler(&self) -> Option<Token> {
        let is_plain = |id: &usize| self.text(*id).is_some_and(|text| text.bytes().all(|b| b.is_ascii_alphabetic()));
        (0..self.len()).find(is_plain).map(|id| id as Token)
    }

    /// What ids spell. A token in front that stands for no text is the server's to put there.
    pub(super) fn spell(&self, ids: &[Token]) -> Result<String, Error> {
        let special = |id: &Token| self.is_special.get(*id as usize).copied().unwrap_or(true);
        let leading = ids.first().is_some_and(special);
        let ids = &ids[usize::from(leading)..];
        let refuse = |what: String| Error::NotText { what };
        if let Some(id) = ids.iter().find(|id| special(id)) {
            let name = self.pieces.get(*id as usize).map(|name| String::from_utf8_lossy(name).into_owned());
            let name = name.unwrap_or_default();
            return Err(refuse(format!(
                "it holds the special token {name:?}, which a server may read as plain letters"
            )));
        }
        let bytes = ids.iter().flat_map(|&id| self.pieces[id as usize].iter().copied()).collect();
        String::from_utf8(bytes).map_err(|_| refuse("it ends within a character".to_owned()))
    }

    /// How a server's words become ids.
    pub(super) fn index(&self) -> Index {
        let mut ids: HashMap<Box<[u8]>, Option<Token>> = HashMap::with_capacity(self.len());
        for (id, piece) in self.pieces.iter().enumerate().filter(|(_, piece)| !piece.is_empty()) {
            ids.entry(piece.clone()).and_modify(|known| *known = None).or_insert(Some(id as Token));
        }
        Index { ids }
    }
}

/// Ids by bytes.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// `None` for bytes that several tokens have.
    ids: HashMap<Box<[u8]>, Option<Token>>,
}

impl Index {
    /// The one token that a server's word stands for: its bytes, or `OpenAI`'s `bytes:\xe2\x80` for a part of a character.
    pub fn id(&self, word: &str) -> Option<Token> {
        self.id_of(word.as_bytes()).or_else(|| self.id_of(&escaped(word.strip_prefix("bytes:")?)?))
    }

    /// The one token that has these bytes.
    pub fn id_of(&self, bytes: &[u8]) -> Option<Token> {
        self.ids.get(bytes).copied().flatten()
    }
}

/// The bytes of `\xe2\x80`.
fn escaped(text: &str) -> Option<Vec<u8>> {
    let parts = text.strip_prefix("\\x")?.split("\\x");
    parts.map(|part| (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok())?).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let tokens: [(&[u8], bool); 7] = [
            (b"<s>", true),
            (b"</s>", true),
            (b"a", false),
            (b"\xe2\x80", false),
            (b"\x99", false),
            (b" b", false),
            (b"a", false),
        ];
        Words::new(tokens.map(|(piece, is_special)| (piece.into(), is_special)), vec![1])
    }

    #[test]
    fn ids_are_spelled_without_the_token_in_front() {
        let words = words();
        assert_eq!(words.spell(&[0, 2, 5]).expect("text"), "a b");
        assert_eq!(words.spell(&[3, 4]).expect("text"), "\u{2019}");
        assert_eq!(words.spell(&[]).expect("nothing"), "");
        let within = words.spell(&[2, 3]).expect_err("half a character").to_string();
        assert!(within.contains("within a character"), "{within}");
        let special = words.spell(&[2, 1]).expect_err("a special token").to_string();
        assert!(special.contains("</s>"), "{special}");
    }

    #[test]
    fn what_several_tokens_spell_is_none_of_them() {
        let index = words().index();
        assert_eq!(index.id("a"), None);
        assert_eq!(index.id(" b"), Some(5));
        assert_eq!(index.id("bytes:\\xe2\\x80"), Some(3));
        assert_eq!(index.id("</s>"), Some(1));
        for unknown in ["", "c", "bytes:", "bytes:\\xe", "bytes:\\xzz"] {
            assert_eq!(index.id(unknown), None, "{unknown}");
        }
    }
}
