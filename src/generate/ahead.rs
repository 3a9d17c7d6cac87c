//! Whether a text would end with a token that is only drafted.

use super::text::TextStream;
use crate::llama::Token;
use crate::llama::model::Model;

/// The text as it will be if the drafts are accepted.
pub(super) struct Ahead<'a> {
    model: &'a Model,
    text: Option<TextStream>,
    piece: &'a mut Vec<u8>,
}

impl<'a> Ahead<'a> {
    /// The text behind its drafts so far.
    pub fn of(model: &'a Model, text: &TextStream, drafts: &[Token], piece: &'a mut Vec<u8>) -> Self {
        let mut ahead = (!text.has_no_end()).then(|| text.clone());
        if let Some(text) = &mut ahead {
            for &token in drafts {
                push_piece(model, token, piece, text);
            }
        }
        Self { model, text: ahead, piece }
    }

    /// Whether it would end with a further token.
    pub fn ends(&mut self, token: Token) -> bool {
        let Some(text) = &mut self.text else { return false };
        push_piece(self.model, token, self.piece, text);
        text.stopped()
    }
}

fn push_piece(model: &Model, token: Token, piece: &mut Vec<u8>, text: &mut TextStream) {
    piece.clear();
    // A token that cannot be spelled is told when it is chosen.
    if model.append_piece(token, piece).is_ok() {
        text.push(piece);
    }
}
