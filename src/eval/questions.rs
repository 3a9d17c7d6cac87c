//! What is asked of every contender.

use super::TaskError;
use super::item::Item;
use super::task::Task;
use crate::generate::Failure;
use crate::prompt::{Conversation, Message, Speaker};
use crate::sampling::Sampling;
use crate::steer;

/// What is asked of every contender.
#[derive(Debug, Clone, Copy)]
pub struct Questions<'a> {
    pub task: &'a Task,
    pub items: &'a [Item],
    pub system: Option<&'a str>,
    pub sampling: &'a Sampling,
}

impl Questions<'_> {
    /// What a contender is given of an item.
    #[must_use]
    pub fn conversation(&self, item: &Item) -> Conversation {
        let system = self.system.map(|text| Message::new(Speaker::System, text));
        let messages = system.into_iter().chain([Message::new(Speaker::User, item.prompt.as_str())]).collect();
        Conversation { messages, prefix: self.task.spec.prefix.clone(), ..Conversation::default() }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Answers that there are, and tokens of them, since it began.
    pub n_items: usize,
    pub n_tokens: usize,
}

/// Why a run ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    #[error("{contender}, item {item}: {failure}")]
    Item { contender: String, item: usize, failure: Failure },

    /// Of an answer that is given.
    #[error("{}{source}", item.map(|item| format!("item {item}: ")).unwrap_or_default())]
    Given { item: Option<usize>, source: Box<steer::Error> },

    #[error(transparent)]
    Steer(#[from] steer::Error),

    #[error(transparent)]
    Results(#[from] TaskError),
}
