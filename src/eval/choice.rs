//! Multiple choice by log-likelihood, as lm-evaluation-harness scores it.

use crate::arithmetic::softmax;

/// What there is to choose from, and what is right of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    pub texts: Vec<String>,
    pub right: Vec<bool>,
}

/// The names of the scores, in the order of [`Choices::scores`].
pub const SCORES: [&str; 3] = ["acc", "acc_norm", "mc2"];

impl Choices {
    /// 1 where the most probable choice is right, else 0; the same with every log-probability divided by the choice's
    /// number of characters; and the share that right choices have of the probability of all. Of equal ones the first
    /// counts. `logprobs`: the natural logarithm of each choice's probability.
    #[must_use]
    pub fn scores(&self, logprobs: &[f64]) -> [f64; 3] {
        let is_right = |scored: &[f64]| {
            let best = (0..scored.len()).reduce(|best, other| if scored[other] > scored[best] { other } else { best });
            f64::from(u8::from(best.is_some_and(|best| self.right[best])))
        };
        let lengths = self.texts.iter().map(|text| text.chars().count().max(1) as f64);
        let by_length: Vec<_> = logprobs.iter().zip(lengths).map(|(logprob, length)| logprob / length).collect();
        let right = logprobs.iter().zip(&self.right).filter(|(_, is_right)| **is_right).map(|(logprob, _)| *logprob);
        let mc2 = (softmax::log_sum(right) - softmax::log_sum(logprobs.iter().copied())).exp();
        [is_right(logprobs), is_right(&by_length), mc2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(texts: &[&str], right: &[bool]) -> Choices {
        Choices { texts: texts.iter().map(|&text| text.to_owned()).collect(), right: right.to_vec() }
    }

    #[test]
    fn scores_by_hand() {
        let one = choices(&["a", "four", "äöüß"], &[false, true, false]);
        // −1, −2 and −3 by themselves; −1, −0.5 and −0.75 by length.
        let [acc, acc_norm, mc2] = one.scores(&[-1.0, -2.0, -3.0]);
        assert_eq!((acc, acc_norm), (0.0, 1.0));
        let expected = (-2.0_f64).exp() / ((-1.0_f64).exp() + (-2.0_f64).exp() + (-3.0_f64).exp());
        assert!((mc2 - expected).abs() < 1e-15, "{mc2}");
        let several = choices(&["a", "b", "c"], &[true, false, true]);
        let [acc, _, mc2] = several.scores(&[-2000.0, -2001.0, -2000.0]);
        assert!(
            (mc2 - 2.0 / (2.0 + (-1.0_f64).exp())).abs() < 1e-12,
            "as small as probabilities of long texts are: {mc2}"
        );
        assert_eq!(acc, 1.0);
        // The first of two equal ones, and nobody's that has no probability.
        assert_eq!(choices(&["a", "b"], &[false, true]).scores(&[-1.0, -1.0])[0], 0.0);
        assert_eq!(choices(&["a", "b"], &[false, true]).scores(&[f64::NEG_INFINITY, -1.0]), [1.0, 1.0, 1.0]);
    }
}
