//! What each role thought of a position: log-probabilities over the full vocabulary, before any sampler.

use crate::arithmetic::row::Row;
use crate::arithmetic::softmax;
use crate::llama::Token;
use crate::steer::{Error, Steered};

/// One token at one position, by natural log of its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logprob {
    pub id: Token,
    /// Under the composed logits.
    pub composed: f64,
    pub base: f64,
    /// Under the first pair's expert and antiexpert; `None` for a side that is not there, or an id it does not have.
    pub expert: Option<f64>,
    pub antiexpert: Option<f64>,
}

/// A position: the token that was chosen, and the best candidates.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    pub chosen: Logprob,
    pub top: Vec<Logprob>,
    /// What the base alone holds for most likely.
    pub base_best: Logprob,
    /// The best candidate is another one than the base's.
    pub changed: bool,
}

impl Position {
    /// Looks at row `i` of the last decode. `plausibility` is the stage's τ; `scratch` is reused from position to
    /// position.
    pub fn at(
        steered: &Steered,
        i: usize,
        chosen: Token,
        n: usize,
        plausibility: f32,
        scratch: &mut Vec<f32>,
    ) -> Result<Self, Error> {
        steered.composed(i, plausibility, scratch)?;
        let (base_row, terms) = steered.row(i)?;
        let pair = terms.first();
        let composed = Logprobs::of(scratch.as_slice().into());
        let base = Logprobs::of(base_row.into());
        let expert = pair.and_then(|pair| pair.expert).map(Logprobs::of);
        let antiexpert = pair.and_then(|pair| pair.antiexpert).map(Logprobs::of);
        let look = |id: usize| Logprob {
            id: id as Token,
            composed: composed.get(id).unwrap_or(f64::NEG_INFINITY),
            base: base.get(id).unwrap_or(f64::NEG_INFINITY),
            expert: expert.as_ref().and_then(|expert| expert.get(id)),
            antiexpert: antiexpert.as_ref().and_then(|antiexpert| antiexpert.get(id)),
        };
        let base_best = softmax::argmax(base_row);
        Ok(Self {
            chosen: look(chosen as usize),
            top: softmax::top(scratch, n).into_iter().map(look).collect(),
            base_best: look(base_best.unwrap_or(0)),
            changed: softmax::argmax(scratch) != base_best,
        })
    }
}

/// A row with its normaliser.
struct Logprobs<'a> {
    row: Row<'a>,
    log_sum_exp: f64,
}

impl<'a> Logprobs<'a> {
    fn of(row: Row<'a>) -> Self {
        Self { row, log_sum_exp: softmax::log_sum_exp(row.logits()) }
    }

    fn get(&self, id: usize) -> Option<f64> {
        self.row.get(id).map(|logit| f64::from(logit) - self.log_sum_exp)
    }
}
