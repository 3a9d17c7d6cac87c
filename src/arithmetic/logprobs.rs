//! What a model says of single tokens: a row of logits with its normaliser.

use super::row::Row;
use super::softmax;

/// How a token stands in a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// The natural log of its probability; −∞ for one that was cut.
    pub logprob: f64,
    /// 1 for the most probable token; equal ones share the better rank.
    pub rank: usize,
}

/// A row with the log of the sum of its exponentials, which makes log-probabilities of its logits.
#[derive(Debug, Clone, Copy)]
pub struct Logprobs<'a> {
    row: Row<'a>,
    log_sum_exp: f64,
}

impl<'a> Logprobs<'a> {
    #[must_use]
    pub fn of(row: impl Into<Row<'a>>) -> Self {
        let row = row.into();
        Self { row, log_sum_exp: softmax::log_sum_exp(row.logits()) }
    }

    #[must_use]
    pub fn log_sum_exp(&self) -> f64 {
        self.log_sum_exp
    }

    /// The log-probability of the base's token `id`; `None` where this model does not have it.
    #[must_use]
    pub fn get(&self, id: usize) -> Option<f64> {
        self.row.get(id).map(|logit| f64::from(logit) - self.log_sum_exp)
    }

    /// The same with its rank among all tokens of this model.
    #[must_use]
    pub fn standing(&self, id: usize) -> Option<Standing> {
        let logit = self.row.get(id)?;
        let rank = 1 + self.row.logits().iter().filter(|&&other| other > logit).count();
        Some(Standing { logprob: f64::from(logit) - self.log_sum_exp, rank })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arithmetic::row::NO_ID;

    #[test]
    fn four_tokens() {
        let logits = [2.0_f32, 0.0, 3.0, 2.0];
        let logprobs = Logprobs::of(&logits[..]);
        assert_eq!([0, 1, 2, 3].map(|id| logprobs.standing(id).map(|standing| standing.rank)), [2, 4, 1, 2].map(Some));
        let sum: f64 = (0..4).filter_map(|id| logprobs.get(id)).map(f64::exp).sum();
        assert!((sum - 1.0).abs() < 1e-7);
        assert_eq!((logprobs.get(4), logprobs.standing(4)), (None, None));
    }

    #[test]
    fn a_model_with_other_ids_ranks_all_tokens_of_its_own() {
        let logits = [5.0_f32, 1.0, 2.0];
        let logprobs = Logprobs::of(Row::mapped(&logits, &[2, NO_ID, 1]));
        assert_eq!([0, 1, 2].map(|id| logprobs.standing(id).map(|standing| standing.rank)), [Some(2), None, Some(3)]);
    }

    #[test]
    fn a_token_that_was_cut_stands_last() {
        let logits = [0.0, f32::NEG_INFINITY, 1.0];
        let standing = Logprobs::of(&logits[..]).standing(1).expect("it has a logit");
        assert_eq!(standing, Standing { logprob: f64::NEG_INFINITY, rank: 3 });
    }
}
