//! How one role sees a conversation, and the pieces that come of it.

use std::mem;
use std::sync::Arc;

use super::{Conversation, Error, Generated, Template, plain, template, turns};

/// How one role sees a conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// `None`: plain text.
    pub template: Option<Arc<Template>>,
    /// Replaces the conversation's system message; empty for none at all. A template may still write one of its own.
    pub system: Option<String>,
    /// Text in front of the first user message, for this role alone.
    pub prefix: Option<String>,
    /// Stands in place of the whole conversation, the system message apart: one user message (a negative prompt);
    /// empty for none.
    pub prompt: Option<String>,
}

/// What a role is given, in order; neighbouring template and content pieces are tokenised together as one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text of the template: special tokens in it are tokens.
    Template(String),
    /// Text of a person or model: what looks like a special token is text.
    Content(String),
    /// Tokens of an earlier answer, by the base's ids, kept as they were generated.
    Tokens(Vec<i32>),
}

impl View {
    /// What this role is given: no piece is empty, and no two neighbours are of one kind.
    pub fn render(&self, conversation: &Conversation) -> Result<Vec<Piece>, Error> {
        let turns = turns::of(self, conversation);
        match &self.template {
            None => Ok(plain::render(&turns, conversation)),
            Some(template) => template::render::render(template, &turns, &conversation.prefix),
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
