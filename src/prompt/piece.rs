//! What a view comes to: texts of the template, texts of people, tokens of earlier answers.

use std::mem;

use serde::{Deserialize, Serialize};

use super::Generated;

/// What a role is given, in order; neighbouring pieces of text are tokenised together as one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// Text of the template: special tokens in it are tokens.
    Template(String),
    /// Text of a person or model: what looks like a special token is text.
    Content(String),
    /// Text that was typed for the model as it is: special tokens in it are tokens.
    Raw(String),
    /// Tokens as they are: of an earlier answer, by the base's ids.
    Tokens(Vec<i32>),
}

impl Piece {
    /// Bytes that become tokens.
    #[must_use]
    pub fn n_text_bytes(&self) -> usize {
        match self {
            Self::Template(text) | Self::Content(text) | Self::Raw(text) => text.len(),
            Self::Tokens(_) => 0,
        }
    }
}

/// Pieces as they are put together.
#[derive(Debug, Default)]
pub(super) struct Pieces(Vec<Piece>);

impl Pieces {
    pub fn template(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Template(last)) => last.push_str(text),
            _ => self.0.push(Piece::Template(text.to_owned())),
        }
    }

    pub fn content(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Content(last)) => last.push_str(text),
            _ => self.0.push(Piece::Content(text.to_owned())),
        }
    }

    pub fn raw(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Raw(last)) => last.push_str(text),
            _ => self.0.push(Piece::Raw(text.to_owned())),
        }
    }

    pub fn generated(&mut self, generated: &Generated) {
        self.content(&generated.prefix);
        match self.0.last_mut() {
            _ if generated.tokens.is_empty() => {}
            Some(Piece::Tokens(last)) => last.extend(&generated.tokens),
            _ => self.0.push(Piece::Tokens(generated.tokens.clone())),
        }
    }

    pub fn into_vec(mut self) -> Vec<Piece> {
        mem::take(&mut self.0)
    }
}
