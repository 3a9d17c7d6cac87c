//! The vocabulary a GGUF file declares.

use std::collections::{HashMap, HashSet};

use crate::gguf::{Error, Header, Value};

/// llama.cpp's token types (`llama_token_type`), as far as this crate asks for them.
pub const TYPE_NORMAL: i64 = 1;
const TYPE_UNKNOWN: i64 = 2;
const TYPE_CONTROL: i64 = 3;
const TYPE_USER: i64 = 4;
pub const TYPE_UNUSED: i64 = 5;
pub const TYPE_BYTE: i64 = 6;

/// Tokenizers of models that continue text. What encoders have (`bert`, `t5`) makes llama.cpp abort where a
/// beginning is asked for that they lack.
const TOKENIZERS: [&str; 7] = ["llama", "gpt2", "gemma4", "rwkv", "plamo2", "hybriddna", "whitespace"];
/// Four times the largest vocabulary in use.
const MAX_TOKENS: usize = 1 << 20;

/// Tokens that a vocabulary gives a part to play, by llama.cpp's metadata keys.
pub const SPECIALS: [&str; 6] = ["bos", "eos", "eot", "eom", "unknown", "padding"];

/// Tokens by id, each as the raw bytes the file holds, with its type, and what else decides how text becomes tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vocabulary {
    tokens: Vec<Box<[u8]>>,
    types: Vec<i64>,
    /// The id that plays each part of [`SPECIALS`], as llama.cpp settles it before it looks at the tokens' names.
    specials: [Option<usize>; SPECIALS.len()],
    tokenizer: String,
    splitter: String,
    add_bos: Option<bool>,
    /// Number and digest of merges and of scores: those order how text is cut into tokens.
    merges: Option<(u64, u64)>,
    scores: Option<(u64, u64)>,
}

impl Vocabulary {
    /// Reads the vocabulary of a file, and refuses one that llama.cpp would not survive.
    pub fn of(header: &Header) -> Result<Self, Error> {
        const TOKENS: &str = "tokenizer.ggml.tokens";
        const TYPES: &str = "tokenizer.ggml.token_type";
        const MODEL: &str = "tokenizer.ggml.model";
        let tokenizer = header.text(MODEL).filter(|model| TOKENIZERS.contains(&model.as_str()));
        let Some(tokenizer) = tokenizer else {
            return Err(header.unusable(MODEL, "a tokenizer of models that continue text (llama, gpt2, …)"));
        };
        let tokens = match header.get(TOKENS) {
            Some(Value::Strings(tokens)) if (1..=MAX_TOKENS).contains(&tokens.len()) => tokens.clone(),
            _ => return Err(header.unusable(TOKENS, "1 to 1048576 token strings")),
        };
        let types = match header.get(TYPES) {
            Some(Value::Numbers(types)) if types.len() >= tokens.len() => types[..tokens.len()].to_vec(),
            None => vec![TYPE_NORMAL; tokens.len()],
            _ => return Err(header.unusable(TYPES, "one type for each token")),
        };
        let digest = |key| match header.get(key) {
            Some(Value::Skipped { len, digest, .. }) => Some((*len, *digest)),
            _ => None,
        };
        let specials = SPECIALS.map(|part| special(header, &tokenizer, part, tokens.len()));
        let vocabulary = Self {
            tokens,
            types,
            specials,
            tokenizer,
            splitter: header.text("tokenizer.ggml.pre").unwrap_or_default(),
            add_bos: header.bool("tokenizer.ggml.add_bos_token"),
            merges: digest("tokenizer.ggml.merges"),
            scores: digest("tokenizer.ggml.scores"),
        };
        if let Some((first, second)) = vocabulary.duplicate() {
            let token = vocabulary.shown(first).unwrap_or_default();
            let found = format!("{token:?} twice, as id {first} and id {second}");
            return Err(header.found(TOKENS, "every token once", found));
        }
        for (key, part) in [("tokenizer.ggml.add_bos_token", "bos"), ("tokenizer.ggml.add_eos_token", "eos")] {
            if header.bool(key) == Some(true) && vocabulary.special(part).is_none() {
                return Err(header.found(key, "false, or the id of the token to add", "true".to_owned()));
            }
        }
        if vocabulary.tokenizer == "rwkv" {
            vocabulary.check_first_bytes(header)?;
        }
        Ok(vocabulary)
    }

    /// The vocabulary that a running llama.cpp tells: each token's text, and its `llama_token_attr`. What decides how
    /// text is cut into tokens is not told.
    #[must_use]
    pub fn of_attributes(tokens: impl IntoIterator<Item = (Box<[u8]>, u32)>) -> Self {
        let (tokens, types) = tokens.into_iter().map(|(text, attr)| (text, type_of(attr))).unzip();
        Self { tokens, types, ..Self::default() }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The bytes and the type of a token.
    #[must_use]
    pub fn token(&self, id: usize) -> Option<(&[u8], i64)> {
        Some((self.tokens.get(id)?, self.types[id]))
    }

    /// A token for a person to read: lossy where it is not UTF-8.
    #[must_use]
    pub fn shown(&self, id: usize) -> Option<String> {
        self.tokens.get(id).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The id that plays a part of [`SPECIALS`].
    #[must_use]
    pub fn special(&self, part: &str) -> Option<usize> {
        SPECIALS.iter().position(|known| *known == part).and_then(|i| self.specials[i])
    }

    /// What llama.cpp calls the kind of tokenizer: `llama` for `SentencePiece`, `gpt2` for byte-level BPE.
    #[must_use]
    pub fn tokenizer(&self) -> &str {
        &self.tokenizer
    }

    /// How text is split into words before it is cut into tokens; empty where that is not said.
    #[must_use]
    pub fn splitter(&self) -> &str {
        &self.splitter
    }

    /// Whether text begins with BOS, where the file says so.
    #[must_use]
    pub fn add_bos(&self) -> Option<bool> {
        self.add_bos
    }

    /// Whether both cut text into the same pieces, as far as the files tell: kind, splitter, merges and scores.
    #[must_use]
    pub fn cuts_as(&self, other: &Self) -> bool {
        // Scores come one for each token, so of different numbers of tokens nothing can be told.
        let same_number = self.scores.map(|(n, _)| n) == other.scores.map(|(n, _)| n);
        self.tokenizer == other.tokenizer
            && self.splitter == other.splitter
            && self.merges == other.merges
            && (!same_number || self.scores == other.scores)
    }

    /// The first token string that stands under two ids, with both. llama.cpp aborts on such a file; it reads strings
    /// up to a NUL and gives empty ones names of their own.
    fn duplicate(&self) -> Option<(usize, usize)> {
        let mut seen = HashMap::with_capacity(self.tokens.len());
        self.tokens.iter().enumerate().find_map(|(id, token)| {
            let read = token.split(|&byte| byte == 0).next().filter(|read| !read.is_empty())?;
            seen.insert(read, id).map(|first| (first, id))
        })
    }

    /// llama.cpp's RWKV tokenizer starts again at the beginning of a text for ever where it has begun a token and
    /// finds none, so every byte that begins one must be a token by itself.
    fn check_first_bytes(&self, header: &Header) -> Result<(), Error> {
        let unescaped: Vec<Vec<u8>> = self.tokens.iter().map(|token| unescaped(token)).collect();
        let single: HashSet<u8> = unescaped.iter().filter(|token| token.len() == 1).map(|token| token[0]).collect();
        match unescaped.iter().find(|token| token.first().is_some_and(|first| !single.contains(first))) {
            None => Ok(()),
            Some(token) => {
                let found = format!("{:?} without its first byte", String::from_utf8_lossy(token));
                Err(header.found("tokenizer.ggml.tokens", "a token for every byte that begins one", found))
            }
        }
    }
}

/// The type that a `llama_token_attr` began as. Tokens that llama.cpp finds to be special get that bit on top.
fn type_of(attr: u32) -> i64 {
    const BITS: [(u32, i64); 5] =
        [(1 << 3, TYPE_CONTROL), (1 << 1, TYPE_UNUSED), (1 << 5, TYPE_BYTE), (1, TYPE_UNKNOWN), (1 << 4, TYPE_USER)];
    BITS.into_iter().find(|(bit, _)| attr & bit != 0).map_or(TYPE_NORMAL, |(_, kind)| kind)
}

/// The id that a file, or llama.cpp's default for its tokenizer, gives a part.
fn special(header: &Header, tokenizer: &str, part: &str, n_tokens: usize) -> Option<usize> {
    let default = match (tokenizer, part) {
        ("llama" | "plamo2", "bos") => Some(1),
        ("llama" | "plamo2", "eos") => Some(2),
        ("llama" | "plamo2", "unknown") => Some(0),
        ("plamo2", "padding") => Some(3),
        ("gpt2" | "hybriddna" | "whitespace", "bos" | "eos") => Some(11),
        _ => None,
    };
    let valid = |id: &usize| *id < n_tokens;
    let given = header.integer(&format!("tokenizer.ggml.{part}_token_id")).and_then(|id| usize::try_from(id).ok());
    given.filter(valid).or(default.filter(valid))
}

/// The bytes that a token of an RWKV vocabulary stands for: `\\xHH`, `\\t`, `\\n` and `\\r` are escapes.
fn unescaped(token: &[u8]) -> Vec<u8> {
    let mut bytes = token.iter().copied();
    let mut out = Vec::with_capacity(token.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b't') => out.push(b'\t'),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b'x') => {
                // llama.cpp takes any byte for a digit, and so does this.
                let digit = |byte: u8| if byte >= b'a' { byte - b'a' + 10 } else { byte.wrapping_sub(b'0') };
                if let (Some(high), Some(low)) = (bytes.next(), bytes.next()) {
                    out.push((digit(high) << 4).wrapping_add(digit(low)));
                }
            }
            other => out.extend(other),
        }
    }
    out
}

#[cfg(test)]
impl Vocabulary {
    /// Normal tokens, `<…>` control and `[PAD…]` unused ones.
    pub(crate) fn from_tokens(tokens: &[&str]) -> Self {
        let kind = |token: &&str| match token {
            token if token.starts_with("[PAD") => TYPE_UNUSED,
            token if token.starts_with('<') => 3,
            _ => TYPE_NORMAL,
        };
        Self {
            tokens: tokens.iter().map(|token| token.as_bytes().into()).collect(),
            types: tokens.iter().map(kind).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn with_type(mut self, id: usize, kind: i64) -> Self {
        self.types[id] = kind;
        self
    }

    pub(crate) fn with_special(mut self, part: &str, id: usize) -> Self {
        let i = SPECIALS.iter().position(|known| *known == part).expect("a part");
        self.specials[i] = Some(id);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn rwkv_escapes_are_bytes() {
        for (token, expected) in
            [("a", &b"a"[..]), (r"\x0a", b"\n"), (r"\n\t", b"\n\t"), (r"\\'", b"\\'"), (r"\xff!", b"\xff!")]
        {
            assert_eq!(unescaped(token.as_bytes()), expected, "{token}");
        }
    }
}
