//! The vocabulary a GGUF file declares.

use crate::gguf::Error;
use crate::gguf::header::{Header, Value};

/// llama.cpp's token types (`llama_token_type`), as far as this crate asks for them.
pub const TYPE_NORMAL: i64 = 1;
pub const TYPE_UNUSED: i64 = 5;

/// Tokens by id, each as the raw bytes the file holds, with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<Box<[u8]>>,
    types: Vec<i64>,
}

impl Vocabulary {
    pub fn of(header: &Header) -> Result<Self, Error> {
        const TOKENS: &str = "tokenizer.ggml.tokens";
        const TYPES: &str = "tokenizer.ggml.token_type";
        const MODEL: &str = "tokenizer.ggml.model";
        if header.text(MODEL).is_none_or(|model| ["none", "no_vocab"].contains(&model.as_str())) {
            return Err(header.unusable(MODEL, "the name of a tokenizer"));
        }
        let tokens = match header.get(TOKENS) {
            Some(Value::Strings(tokens)) if !tokens.is_empty() => tokens.clone(),
            _ => return Err(header.unusable(TOKENS, "the token strings")),
        };
        let types = match header.get(TYPES) {
            Some(Value::Numbers(types)) if types.len() == tokens.len() => types.clone(),
            None => vec![TYPE_NORMAL; tokens.len()],
            _ => return Err(header.unusable(TYPES, "one type for each token")),
        };
        Ok(Self { tokens, types })
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

    /// The first token string that stands under two ids, with both. llama.cpp aborts on such a file; it reads strings
    /// up to a NUL and gives empty ones names of their own.
    #[must_use]
    pub fn duplicate(&self) -> Option<(usize, usize)> {
        let mut seen = std::collections::HashMap::with_capacity(self.tokens.len());
        self.tokens.iter().enumerate().find_map(|(id, token)| {
            let read = token.split(|&byte| byte == 0).next().filter(|read| !read.is_empty())?;
            seen.insert(read, id).map(|first| (first, id))
        })
    }

    #[cfg(test)]
    pub(crate) fn from_tokens(tokens: &[&str]) -> Self {
        Self {
            tokens: tokens.iter().map(|token| token.as_bytes().into()).collect(),
            types: tokens
                .iter()
                .map(|token| if token.starts_with("[PAD") { TYPE_UNUSED } else { TYPE_NORMAL })
                .collect(),
        }
    }

    #[cfg(test)]
    pub(crate) fn with_unused(mut self, id: usize) -> Self {
        self.types[id] = TYPE_UNUSED;
        self
    }
}
