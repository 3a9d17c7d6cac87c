//! How one role sees a conversation.

use std::sync::Arc;

use super::turns::{self, Turn};
use super::{Conversation, Error, Piece, Speaker, Template, plain, template};

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

impl View {
    /// What this role is given: no piece is empty, and no two neighbours are of one kind.
    pub fn render(&self, conversation: &Conversation) -> Result<Vec<Piece>, Error> {
        let turns = self.turns(conversation);
        match &self.template {
            None => Ok(plain::render(&turns, conversation)),
            Some(template) => template::render::render(template, &turns, &conversation.prefix),
        }
    }

    /// What this role is given of a text that nobody puts into a template: its own prefix stands in front of it and its own
    /// prompt in its place, and there is no system message. Names of special tokens in those are tokens.
    #[must_use]
    pub fn render_raw(&self, pieces: &[Piece]) -> Vec<Piece> {
        let prefix = self.prefix.iter().filter(|prefix| !prefix.is_empty()).cloned().map(Piece::Raw);
        match &self.prompt {
            None => prefix.chain(pieces.iter().cloned()).collect(),
            Some(prompt) => prefix.chain(Some(Piece::Raw(prompt.clone())).filter(|_| !prompt.is_empty())).collect(),
        }
    }

    /// The conversation with the view's own system message, prefix and prompt put in.
    fn turns<'a>(&'a self, conversation: &'a Conversation) -> Vec<Turn<'a>> {
        let mut turns: Vec<_> = conversation
            .messages
            .iter()
            .map(|message| Turn {
                generated: message.generated.as_ref(),
                ..Turn::new(message.speaker, message.text.as_str())
            })
            .collect();
        if let Some(system) = &self.system {
            turns.retain(|turn| turn.speaker != Speaker::System);
            turns.splice(..0, (!system.is_empty()).then(|| Turn::new(Speaker::System, system.as_str())));
        }
        if let Some(prompt) = &self.prompt {
            turns.retain(|turn| turn.speaker == Speaker::System);
            turns.extend((!prompt.is_empty()).then(|| Turn::new(Speaker::User, prompt.as_str())));
        }
        if let Some(prefix) = self.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            turns::lead(&mut turns, prefix);
        }
        turns
    }
}
