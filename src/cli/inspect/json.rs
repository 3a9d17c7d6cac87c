//! What was found, as one JSON object.

use serde_json::{Map, Value, json};

use super::found::{Found, N_MOVED};
use crate::arithmetic::logprobs::Standing;
use crate::eval::influence::{Candidate, Influence, Moved};

impl Found {
    /// `n_tokens`, `n_changed`, `intervention_rate`, `kl`, both means with their standard errors over the texts, `promoted`
    /// and `demoted`.
    pub fn aggregate(&self) -> Value {
        let found = &self.influences;
        let moved = |all: Vec<Moved>| {
            let object = |Moved { token, sum, n_written }: Moved| json!({"id": token, "piece": self.piece(token), "sum": sum, "n_written": n_written});
            all.into_iter().map(object).collect::<Vec<_>>()
        };
        json!({
            "n_tokens": found.tokens.len(), "n_changed": found.n_changed(),
            "intervention_rate": found.changed.mean(),
            "intervention_rate_standard_error": found.changed.standard_error(),
            "kl": found.divergence.mean(), "kl_standard_error": found.divergence.standard_error(),
            "promoted": moved(found.promoted(N_MOVED)), "demoted": moved(found.demoted(N_MOVED)),
        })
    }

    /// Every token of the texts.
    pub fn tokens(&self) -> Vec<Value> {
        self.influences.tokens.iter().map(|token| self.token(token)).collect()
    }

    fn token(&self, token: &Influence) -> Value {
        let mut object = Map::new();
        let mut add = |key: &str, value: Value| object.insert(key.to_owned(), value);
        add("text", json!(token.text));
        add("position", json!(token.position));
        add("id", json!(token.token));
        add("piece", json!(self.piece(token.token)));
        add("kl", json!(token.divergence));
        add("changed", json!(token.is_changed()));
        for (name, standing) in self.standings(token) {
            add(
                name,
                standing.map_or(Value::Null, |Standing { logprob, rank }| json!({"logprob": logprob, "rank": rank})),
            );
        }
        add("base_top", self.candidate(token.base_top));
        add("steered_top", self.candidate(token.steered_top));
        Value::Object(object)
    }

    fn candidate(&self, Candidate { token, base, steered }: Candidate) -> Value {
        json!({"id": token, "piece": self.piece(token), "base": base, "steered": steered})
    }
}
