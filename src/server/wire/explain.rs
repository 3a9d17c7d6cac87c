//! What `proxy.explain` adds to a reply: every token under every role.

use serde_json::{Value, json};

use super::completion::Asked;
use super::steering::explained;
use crate::generate::probs::Position;
use crate::recipe::Schedule;

/// Names of the pairs, where tokens are explained.
#[derive(Debug, Clone, Default)]
pub struct Explain(Option<Vec<(String, Schedule)>>);

impl Explain {
    pub fn of(asked: &Asked<'_>) -> Self {
        Self(asked.explain.then(|| asked.model.served.pairs.clone()))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Puts `proxy` into an object, if that is asked for.
    pub fn add(&self, object: &mut Value, positions: &[Position]) {
        if let Some(names) = &self.0 {
            let tokens: Vec<_> = positions.iter().map(|position| explained(position, names)).collect();
            object["proxy"] = json!({"tokens": tokens});
        }
    }
}
