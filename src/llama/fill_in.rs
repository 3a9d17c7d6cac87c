//! Tokens that a vocabulary has for a purpose.

use llama_cpp_sys_2 as sys;
use serde::{Deserialize, Serialize};

use super::Token;
use super::model::Model;
use crate::parameter::OutOfRange;

/// The tokens with which a model is asked to fill in the middle of a text, as far as its vocabulary has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillIn {
    pub prefix: Option<Token>,
    pub suffix: Option<Token>,
    pub middle: Option<Token>,
    pub pad: Option<Token>,
    /// In front of a repository's name, and of a file's.
    pub repository: Option<Token>,
    pub file: Option<Token>,
}

impl Model {
    #[must_use]
    pub fn fill_in(&self) -> FillIn {
        let vocab = self.vocab();
        // SAFETY: the vocabulary is valid.
        let ids = unsafe {
            [
                sys::llama_vocab_fim_pre(vocab),
                sys::llama_vocab_fim_suf(vocab),
                sys::llama_vocab_fim_mid(vocab),
                sys::llama_vocab_fim_pad(vocab),
                sys::llama_vocab_fim_rep(vocab),
                sys::llama_vocab_fim_sep(vocab),
            ]
        };
        let [prefix, suffix, middle, pad, repository, file] = ids.map(|id| self.own(id));
        FillIn { prefix, suffix, middle, pad, repository, file }
    }

    /// Refuses a vocabulary that llama.cpp's sampler `infill` does not survive: it needs a token for the end, and throws where
    /// a token is longer than its buffer.
    pub(super) fn check_infill(&self) -> Result<(), OutOfRange> {
        const MAX_BYTES: usize = 512;
        // SAFETY: the vocabulary is valid.
        let eot = self.own(unsafe { sys::llama_vocab_eot(self.vocab()) });
        if eot.or(self.eos()).is_none() {
            return Err(OutOfRange::new("samplers", "`infill`", "a model that has a token for the end of a text"));
        }
        // The text in the file is never shorter than the token's bytes.
        let longest = (0..self.n_vocab() as Token).map(|token| self.raw_text(token).len()).max().unwrap_or(0);
        if longest > MAX_BYTES {
            let expected = format!("a model without tokens of more than {MAX_BYTES} bytes");
            return Err(OutOfRange::new("samplers", format!("`infill` and a token of {longest} bytes"), expected));
        }
        Ok(())
    }

    /// The beginning-of-text token, whether or not tokenised text starts with it.
    #[must_use]
    pub fn bos(&self) -> Option<Token> {
        // SAFETY: the vocabulary is valid.
        self.own(unsafe { sys::llama_vocab_bos(self.vocab()) })
    }

    /// The end-of-text token.
    #[must_use]
    pub fn eos(&self) -> Option<Token> {
        // SAFETY: the vocabulary is valid.
        self.own(unsafe { sys::llama_vocab_eos(self.vocab()) })
    }

    /// What fills up shorter texts of a batch, where the file says so.
    #[must_use]
    pub fn pad(&self) -> Option<Token> {
        // SAFETY: the vocabulary is valid.
        self.own(unsafe { sys::llama_vocab_pad(self.vocab()) })
    }

    fn own(&self, token: Token) -> Option<Token> {
        Some(token).filter(|&token| self.has(token))
    }
}
