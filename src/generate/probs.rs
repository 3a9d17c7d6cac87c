//! What each role thought of a position: log-probabilities over the full vocabulary, before any sampler.

use serde::{Deserialize, Serialize};

use crate::arithmetic::logprobs::Logprobs;
use crate::arithmetic::softmax;
use crate::llama::Token;
use crate::steer::{Ensemble, Error, Role, Sequence};

/// One token at one position, by natural log of its probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logprob {
    pub id: Token,
    /// The token's own bytes, which may be a part of a character.
    pub bytes: Vec<u8>,
    /// Under the composed logits; `None` for a token that the base finds too implausible to be chosen.
    #[serde(with = "super::number::option")]
    pub composed: Option<f64>,
    #[serde(with = "super::number")]
    pub base: f64,
    /// Under the sides of every pair, in order; none where one role writes by itself.
    pub pairs: Vec<Sides>,
}

/// A token to the sides of a pair: `None` for a side that is not there, or an id it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sides {
    #[serde(with = "super::number::option")]
    pub expert: Option<f64>,
    #[serde(with = "super::number::option")]
    pub antiexpert: Option<f64>,
}

impl Logprob {
    /// The token's text; bytes that are no text are U+FFFD.
    #[must_use]
    pub fn piece(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A position: the token that was chosen, and the top candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub chosen: Logprob,
    pub top: Vec<Logprob>,
    /// The base's top token.
    pub base_top: Logprob,
    /// The top token is another one than the base's.
    pub changed: bool,
    /// KL(composed ‖ base) in nats, where it was asked for.
    #[serde(with = "super::number::option")]
    pub divergence: Option<f64>,
}

impl Position {
    /// Looks at a position of a sequence. `plausibility` is the stage's τ; `scratch` is reused from position to position.
    pub fn at(
        ensemble: &Ensemble,
        sequence: &Sequence,
        at: usize,
        chosen: Token,
        n: usize,
        plausibility: f32,
        scratch: &mut Vec<f32>,
    ) -> Result<Self, Error> {
        ensemble.composed(sequence, at, plausibility, scratch)?;
        let base_row = ensemble.logits(sequence, sequence.sampled(), at)?;
        // Roles that compute the same share a lane, and its row.
        let mut lanes = Vec::new();
        for lane in sequence.lanes() {
            lanes.push(Logprobs::of(ensemble.lane_row(sequence, lane, at)?));
        }
        let n_pairs = if sequence.is_steered() { ensemble.topology().n_pairs() } else { 0 };
        let of = |role: Role, id: usize| lanes[ensemble.lane(role)?].get(id);
        let composed = Logprobs::of(scratch.as_slice());
        let base = Logprobs::of(base_row);
        let model = ensemble.model(sequence.sampled());
        let look = |id: usize| {
            let mut bytes = Vec::new();
            // A token that cannot be spelled has no bytes.
            let _ = model.append_piece(id as Token, &mut bytes);
            Logprob {
                id: id as Token,
                bytes,
                composed: composed.get(id).filter(|logprob| logprob.is_finite()),
                base: base.get(id).unwrap_or(f64::NEG_INFINITY),
                pairs: (0..n_pairs)
                    .map(|i| Sides { expert: of(Role::Expert(i), id), antiexpert: of(Role::Antiexpert(i), id) })
                    .collect(),
            }
        };
        let base_top = softmax::argmax(base_row);
        Ok(Self {
            chosen: look(chosen as usize),
            top: softmax::top(scratch, n).into_iter().map(look).collect(),
            base_top: look(base_top.unwrap_or(0)),
            changed: softmax::argmax(scratch) != base_top,
            divergence: None,
        })
    }

    /// The same with the divergence of the composed row from the base's.
    #[must_use]
    pub(super) fn with_divergence(self, composed: &[f32], base: &[f32]) -> Self {
        let (_, divergence) = softmax::divergence(composed, base, softmax::log_sum_exp(base));
        Self { divergence: Some(divergence), ..self }
    }
}
