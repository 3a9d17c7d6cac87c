//! What `proxy.explain` adds to a reply: every token under every role.

use serde_json::{Map, Value, json};

use super::completion::Asked;
use crate::generate::probs::{Logprob, Position, Sides};

/// How tokens are explained, if they are.
#[derive(Debug, Clone, Default)]
pub struct Explain(Option<Shown>);

#[derive(Debug, Clone)]
struct Shown {
    /// Names of the pairs.
    names: Vec<String>,
    /// Candidates beside each token, where they are asked for.
    n_top: Option<usize>,
}

impl Explain {
    pub fn of(asked: &Asked<'_>) -> Self {
        Self(asked.explained.map(|explained| Shown { names: asked.model.served.pairs.clone(), n_top: explained.n_top }))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Puts `proxy` into an object, if that is asked for.
    pub fn add(&self, object: &mut Value, positions: &[Position]) {
        if let Some(shown) = &self.0 {
            let tokens: Vec<_> = positions.iter().map(|position| shown.explained(position)).collect();
            object["proxy"] = json!({"tokens": tokens});
        }
    }
}

impl Shown {
    /// A token under every role: natural logarithms, `null` for a role that does not have the token.
    fn explained(&self, position: &Position) -> Value {
        let Position { chosen, base_top, changed, divergence, top } = position;
        let mut object = self.roles(chosen);
        object["base_top"] = self.roles(base_top);
        object["changed"] = json!(changed);
        object["divergence"] = json!(divergence);
        if let Some(n_top) = self.n_top {
            object["top"] = top.iter().take(n_top).map(|token| self.roles(token)).collect();
        }
        object
    }

    fn roles(&self, token: &Logprob) -> Value {
        let pair = |(i, Sides { expert, antiexpert }): (usize, &Sides)| {
            // The pair behind those of the recipe is guidance.
            let name = self.names.get(i).map_or("guidance", String::as_str);
            (name.to_owned(), json!({"expert": expert, "antiexpert": antiexpert}))
        };
        let pairs: Map<_, _> = token.pairs.iter().enumerate().map(pair).collect();
        json!({
            "id": token.id, "token": token.piece(), "bytes": token.bytes, "steered": token.composed,
            "base": token.base, "pairs": pairs,
        })
    }
}
