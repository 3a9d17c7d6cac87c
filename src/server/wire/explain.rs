//! What `proxy.explain` adds to a reply: every token under every role.

use serde_json::{Map, Value, json};

use super::completion::Asked;
use crate::generate::probs::{Logprob, Position, Sides};

/// Names of the pairs, where tokens are explained.
#[derive(Debug, Clone, Default)]
pub struct Explain(Option<Vec<String>>);

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

/// A token under every role: natural logarithms, `null` for a role that does not have the token.
fn explained(position: &Position, names: &[String]) -> Value {
    let Position { chosen, base_top, changed, .. } = position;
    let mut object = roles(chosen, names);
    object["base_top"] = roles(base_top, names);
    object["changed"] = json!(changed);
    object
}

fn roles(token: &Logprob, names: &[String]) -> Value {
    let pair = |(i, Sides { expert, antiexpert }): (usize, &Sides)| {
        // The pair behind those of the recipe is guidance.
        let name = names.get(i).map_or("guidance", String::as_str);
        (name.to_owned(), json!({"expert": expert, "antiexpert": antiexpert}))
    };
    let pairs: Map<_, _> = token.pairs.iter().enumerate().map(pair).collect();
    json!({
        "id": token.id, "token": token.piece(), "steered": token.composed, "base": token.base, "pairs": pairs,
    })
}
