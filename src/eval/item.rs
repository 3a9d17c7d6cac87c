//! An item of a task: what is asked, and what is wanted of an answer.

use super::choice::Choices;

/// What is asked, and what is wanted of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub prompt: String,
    pub wanted: Wanted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// An answer that comes to one of these.
    References(Vec<String>),
    /// The most probable of several.
    Choice(Choices),
    /// How well this text is predicted.
    Text(String),
    /// A program; what its item is called.
    Completion { id: String },
}

impl Item {
    /// Bytes of the prompt and of the longest answer that is given.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        let given = match &self.wanted {
            Wanted::Choice(choices) => choices.texts.iter().map(String::len).max().unwrap_or(0),
            Wanted::Text(text) => text.len(),
            Wanted::References(_) | Wanted::Completion { .. } => 0,
        };
        self.prompt.len() + given
    }
}
