//! How probable the tokens of a prompt are, seen while it is read.
//!
//! Each token is looked at as if the answer began with it: under the weights of the answer's first position. Rows are put
//! out behind every token for that, so the prompt is read in pieces that a step has rows for, and from its beginning
//! whatever lanes hold of it. Once it is read the answer goes on behind it as behind any other.

use super::probs::Position;
use crate::llama::Token;
use crate::steer::{Ensemble, Error, Prompts, Sampled, Sequence, Weights};

/// A prompt that is being scored.
#[derive(Debug)]
pub(super) struct Scoring {
    /// Candidates to report of each token.
    n_probs: usize,
    /// Tokens behind the first that were looked at.
    n_scored: usize,
}

impl Scoring {
    /// Refuses prompts in which a lane sees other tokens than the one that is sampled from.
    pub fn new(ensemble: &Ensemble, sampled: Sampled, prompts: &Prompts, n_probs: usize) -> Result<Self, Error> {
        ensemble.check_alike(sampled, prompts)?;
        Ok(Self { n_probs, n_scored: 0 })
    }

    /// Makes a sequence want the prompts.
    pub fn begin(
        ensemble: &mut Ensemble,
        sequence: &mut Sequence,
        sampled: Sampled,
        prompts: &Prompts,
        weights: &Weights,
    ) -> Result<(), Error> {
        ensemble.begin_scored(sequence, sampled, prompts)?;
        *sequence.weights_mut() = weights.of_first_position();
        Ok(())
    }

    /// Looks at what the last step put out of a prompt. `plausibility` is the stage's τ.
    pub fn take(
        &mut self,
        ensemble: &Ensemble,
        sequence: &Sequence,
        prompt: &[Token],
        plausibility: f32,
        scratch: &mut Vec<f32>,
    ) -> Result<Vec<Position>, Error> {
        let n_read = sequence.lanes().map(|lane| sequence.n_held(lane)).min().unwrap_or(0);
        let mut positions = Vec::new();
        // A row behind the last token predicts nothing that is known.
        for at in self.n_scored..n_read.min(prompt.len().saturating_sub(1)) {
            ensemble.check_finite(sequence, at)?;
            positions.push(Position::at(ensemble, sequence, at, prompt[at + 1], self.n_probs, plausibility, scratch)?);
        }
        self.n_scored += positions.len();
        Ok(positions)
    }

    /// The prompt is read: the answer begins behind it.
    pub fn end(ensemble: &Ensemble, sequence: &mut Sequence, weights: &Weights) {
        ensemble.begin_answer(sequence);
        *sequence.weights_mut() = weights.clone();
    }
}
