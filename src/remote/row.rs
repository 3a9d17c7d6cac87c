//! A row of logits from the few log-probabilities that a server shows.

use super::Token;
use super::position::Position;

/// Sums of probabilities in single precision are no more exact than this: so much is left to what is not shown at least.
const LEAST: f64 = 1e-7;

/// One position: a log-probability for every id, and which of them are known.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// By id: what the server shows, and for all others an even share of what that leaves, but no more than the least
    /// probable id that is shown.
    logits: Vec<f32>,
    /// The ids that may be chosen, where that is not all of them.
    shown: Option<Vec<Token>>,
    /// Probability that is left to what is not shown.
    rest: f64,
    /// The most probable that an id can be which is not shown: a log-probability.
    cap: f32,
}

impl Row {
    pub(super) fn of(position: &Position, n_vocab: usize) -> Self {
        let n_hidden = n_vocab.saturating_sub(position.known().count());
        let cap = position.shown.last().map_or(0.0, |(_, logprob)| *logprob);
        if n_hidden == 0 {
            let mut logits = vec![cap; n_vocab];
            position.known().for_each(|(id, logprob)| logits[id as usize] = logprob);
            return Self { logits, shown: None, rest: 0.0, cap };
        }
        let rest = (1.0 - position.mass()).max(LEAST);
        let even = (rest / n_hidden as f64).ln() as f32;
        let mut logits = vec![even.min(cap); n_vocab];
        position.known().for_each(|(id, logprob)| logits[id as usize] = logprob);
        let shown = position.known().map(|(id, _)| id).collect();
        Self { logits, shown: Some(shown), rest, cap }
    }

    /// The same where the server has chosen.
    pub(super) fn chosen(self, token: Token) -> Self {
        Self { shown: Some(vec![token]), ..self }
    }

    #[must_use]
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The ids that may be chosen; `None` for all of them.
    #[must_use]
    pub fn shown(&self) -> Option<&[Token]> {
        self.shown.as_deref()
    }

    /// Probability that the base leaves to ids that are not shown.
    #[must_use]
    pub fn rest(&self) -> f64 {
        self.rest
    }

    /// The most probable that an id can be which is not shown: a log-probability.
    #[must_use]
    pub fn cap(&self) -> f32 {
        self.cap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(shown: &[(Token, f32)], n_vocab: usize) -> Row {
        Row::of(&Position { shown: shown.to_vec(), ..Position::default() }, n_vocab)
    }

    #[test]
    fn what_is_left_is_shared_evenly() {
        let row = row(&[(2, 0.5_f32.ln()), (0, 0.25_f32.ln())], 7);
        let probabilities: Vec<f32> = row.logits().iter().map(|logprob| logprob.exp()).collect();
        for (got, expected) in probabilities.iter().zip([0.25, 0.05, 0.5, 0.05, 0.05, 0.05, 0.05]) {
            assert!((got - expected).abs() < 1e-6, "{probabilities:?}");
        }
        assert_eq!(row.shown(), Some(&[2, 0][..]));
        assert!((row.rest() - 0.25).abs() < 1e-6);
    }

    #[test]
    fn an_id_that_is_not_shown_is_no_more_probable_than_those_that_are() {
        let row = row(&[(0, 0.1_f32.ln())], 3);
        assert_eq!(row.logits()[1], 0.1_f32.ln());
    }

    #[test]
    fn a_whole_vocabulary_leaves_nothing() {
        let row = row(&[(1, -0.1), (0, -2.4)], 2);
        assert_eq!((row.logits(), row.shown(), row.rest()), (&[-2.4, -0.1][..], None, 0.0));
    }
}
