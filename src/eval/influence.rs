//! What the pairs change of the base, token by token: one pass over texts on all lanes.
//!
//! At every token that is scored: how it stands under each lane and in the sum, both top tokens, and how far the sum's
//! distribution is from the base's. Over all of them: the probability that each token of the vocabulary gained or lost.

use std::cell::Cell;
use std::io;

use super::reading::{self, Predicted};
use super::texts::Texts;
use crate::arithmetic::logprobs::{Logprobs, Standing};
use crate::arithmetic::shift::Shift;
use crate::arithmetic::softmax;
use crate::arithmetic::statistics::GroupedMean;
use crate::llama::Token;
use crate::steer::{self, Topology};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Steer(#[from] steer::Error),

    /// What `also` said.
    #[error(transparent)]
    Also(#[from] io::Error),
}

/// A token with the natural logs of its probabilities under the base and in the sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub token: Token,
    pub base: f64,
    /// −∞ for a token that the plausibility cut leaves out.
    pub steered: f64,
}

/// One token of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Influence {
    /// Which of the texts, and which token of its answer.
    pub text: usize,
    pub position: usize,
    pub token: Token,
    /// How it stands under each lane by itself, the base's first; `None` for a lane that does not have it.
    pub lanes: Vec<Option<Standing>>,
    pub steered: Standing,
    pub base_top: Candidate,
    pub steered_top: Candidate,
    /// KL(steered ‖ base) in nats.
    pub divergence: f64,
}

impl Influence {
    /// Whether steering changed the top token.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.base_top.token != self.steered_top.token
    }
}

/// A token of the vocabulary over all positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    pub token: Token,
    /// The sum of its probabilities in the sum of models minus those under the base.
    pub sum: f64,
    /// Positions at which it was written.
    pub n_written: usize,
}

/// What was found in texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Influences {
    /// In the order of the texts.
    pub tokens: Vec<Influence>,
    /// Texts of which something was read, and that there were to read.
    pub n_texts: usize,
    pub n_texts_all: usize,
    pub shift: Shift,
    /// Share of tokens at which steering changed the top token; a text is a group.
    pub changed: GroupedMean,
    /// KL(steered ‖ base) in nats.
    pub divergence: GroupedMean,
}

/// Reads texts, as [`reading::read`] does. `plausibility` is the stage's τ. `also` is shown every token with the composed
/// row that predicts it, in no order between texts; once it fails nothing more is read. `progress` hears how many tokens
/// are done, and answers whether to go on; on a no the rest is left out.
pub fn measure(
    ensemble: &mut steer::Ensemble,
    texts: &Texts,
    plausibility: f32,
    mut also: impl FnMut(&Predicted<'_>, &[f32]) -> io::Result<()>,
    mut progress: impl FnMut(usize) -> bool,
) -> Result<Influences, Error> {
    let mut shift = Shift::new(ensemble.topology().n_vocab());
    let (mut tokens, mut composed) = (Vec::with_capacity(texts.n_tokens()), Vec::new());
    let failed = Cell::new(None);
    let has_failed = Cell::new(false);
    let each = |predicted: &Predicted<'_>| {
        if has_failed.get() {
            return Ok(());
        }
        let Predicted { ensemble, sequence, position, .. } = *predicted;
        ensemble.check_finite(sequence, position)?;
        ensemble.composed(sequence, position, plausibility, &mut composed)?;
        let row = |lane| ensemble.lane_row(sequence, lane, position);
        let lanes = sequence.lanes().map(|lane| row(lane).map(Logprobs::of)).collect::<Result<Vec<_>, _>>()?;
        tokens.push(look(predicted, row(0)?.logits(), &lanes, &composed, &mut shift));
        if let Err(error) = also(predicted, &composed) {
            failed.set(Some(error));
            has_failed.set(true);
        }
        Ok(())
    };
    reading::read(ensemble, texts, each, |done| progress(done) && !has_failed.get())?;
    if let Some(error) = failed.take() {
        return Err(error.into());
    }
    progress(tokens.len());
    Ok(Influences::of(tokens, shift, texts.len()))
}

/// One token of a text: `base` and `composed` are rows `[n_vocab]` by the base's ids.
fn look(
    &Predicted { text, position, token, .. }: &Predicted<'_>,
    base: &[f32],
    lanes: &[Logprobs<'_>],
    composed: &[f32],
    shift: &mut Shift,
) -> Influence {
    let (of_base, of_sum) = (Logprobs::of(base), Logprobs::of(composed));
    shift.add((composed, of_sum.log_sum_exp()), (base, of_base.log_sum_exp()));
    let (_, divergence) = softmax::divergence(composed, base, of_base.log_sum_exp());
    let top = |row: &[f32]| {
        let id = softmax::argmax(row).unwrap_or(0);
        let logprob = |of: &Logprobs<'_>| of.get(id).unwrap_or(f64::NEG_INFINITY);
        Candidate { token: id as Token, base: logprob(&of_base), steered: logprob(&of_sum) }
    };
    let id = token as usize;
    let nowhere = Standing { logprob: f64::NEG_INFINITY, rank: composed.len() };
    Influence {
        text,
        position,
        token,
        lanes: lanes.iter().map(|lane| lane.standing(id)).collect(),
        steered: of_sum.standing(id).unwrap_or(nowhere),
        base_top: top(base),
        steered_top: top(composed),
        divergence,
    }
}

impl Influences {
    fn of(mut tokens: Vec<Influence>, shift: Shift, n_texts_all: usize) -> Self {
        tokens.sort_by_key(|token| (token.text, token.position));
        let (mut changed, mut divergence) = (GroupedMean::default(), GroupedMean::default());
        let mut n_texts = 0;
        for of_text in tokens.chunk_by(|a, b| a.text == b.text) {
            for token in of_text {
                changed.push(if token.is_changed() { 1.0 } else { 0.0 });
                divergence.push(token.divergence);
            }
            changed.next_group();
            divergence.next_group();
            n_texts += 1;
        }
        Self { tokens, n_texts, n_texts_all, shift, changed, divergence }
    }

    /// At how many tokens steering changed the top token.
    #[must_use]
    pub fn n_changed(&self) -> usize {
        self.tokens.iter().filter(|token| token.is_changed()).count()
    }

    /// The `n` tokens of the texts that steering moved furthest from the base, by their places: the furthest first.
    #[must_use]
    pub fn strongest(&self, n: usize) -> Vec<usize> {
        let mut places: Vec<_> = (0..self.tokens.len()).collect();
        let further =
            |a: &usize, b: &usize| self.tokens[*b].divergence.total_cmp(&self.tokens[*a].divergence).then(a.cmp(b));
        places.sort_by(further);
        places.truncate(n);
        places
    }

    /// The `n` tokens of the vocabulary that steering made more probable, the most first.
    #[must_use]
    pub fn promoted(&self, n: usize) -> Vec<Moved> {
        self.moved(self.shift.promoted(n))
    }

    /// The `n` tokens of the vocabulary that steering made less probable, the most first.
    #[must_use]
    pub fn demoted(&self, n: usize) -> Vec<Moved> {
        self.moved(self.shift.demoted(n))
    }

    fn moved(&self, most: Vec<(usize, f64)>) -> Vec<Moved> {
        let n_written = |id: usize| self.tokens.iter().filter(|token| token.token as usize == id).count();
        most.into_iter().map(|(id, sum)| Moved { token: id as Token, sum, n_written: n_written(id) }).collect()
    }
}

/// Every role beside the base that has a side of its own, with its lane.
pub fn sides(topology: &Topology) -> impl Iterator<Item = (steer::Role, usize)> {
    topology.roles().skip(1).filter_map(|role| Some((role, topology.lane(role)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(token: Token) -> Candidate {
        Candidate { token, base: -1.0, steered: -1.0 }
    }

    fn influence(text: usize, position: usize, divergence: f64, tops: [Token; 2]) -> Influence {
        let standing = Standing { logprob: -1.0, rank: 1 };
        let [base_top, steered_top] = tops.map(candidate);
        let (token, lanes) = (position as Token, vec![Some(standing)]);
        Influence { text, position, token, lanes, steered: standing, base_top, steered_top, divergence }
    }

    /// Texts that were read at once come interleaved.
    #[test]
    fn tokens_are_grouped_by_text_and_counted() {
        let tokens = vec![
            influence(0, 0, 0.5, [1, 1]),
            influence(1, 0, 2.0, [1, 2]),
            influence(0, 1, 1.5, [3, 1]),
            influence(1, 1, 0.0, [0, 0]),
        ];
        let mut shift = Shift::new(4);
        let (base, sum) = ([0.25_f32, 0.25, 0.25, 0.25].map(f32::ln), [0.5_f32, 0.25, 0.125, 0.125].map(f32::ln));
        shift.add((&sum, softmax::log_sum_exp(&sum)), (&base, softmax::log_sum_exp(&base)));
        let found = Influences::of(tokens, shift, 3);
        let places: Vec<_> = found.tokens.iter().map(|token| (token.text, token.position)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (1, 0), (1, 1)]);
        assert_eq!((found.n_texts, found.n_texts_all, found.n_changed()), (2, 3, 2));
        assert_eq!((found.changed.mean(), found.divergence.mean()), (0.5, 1.0));
        assert_eq!(found.divergence.standard_error(), 0.0, "both texts have the same mean");
        assert_eq!(found.strongest(3), [2, 1, 0]);
        let [first] = found.promoted(1)[..] else { panic!("one is promoted") };
        assert_eq!((first.token, first.n_written), (0, 2));
        assert!((first.sum - 0.25).abs() < 1e-6);
        assert_eq!(found.demoted(2).iter().map(|moved| moved.token).collect::<Vec<_>>(), [2, 3]);
    }
}
