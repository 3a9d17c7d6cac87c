//! What a server shows of one position: some ids with their log-probabilities, checked before anybody believes them.

use std::collections::BTreeSet;

use super::{Error, Token};

/// Log-probabilities of one position, by the small models' ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Position {
    /// The ids that are shown, the most probable first.
    pub shown: Vec<(Token, f32)>,
    /// Others that were asked for by their ids.
    pub named: Vec<(Token, f32)>,
    /// Entries that stand for no one id here.
    pub n_dropped: usize,
}

/// llama-server writes the lowest number there is where a probability is 0, vLLM −9999.
const LOWEST: f32 = -1e4;
/// Logarithms are rounded: the sum of probabilities may lie a little above 1.
const MOST: f32 = 1e-3;
/// And that of a position.
pub(super) const MOST_MASS: f64 = 1.01;

impl Position {
    /// Takes entries in, of which `None` is one that stands for no id. `garbage` makes an error of what is wrong with them.
    pub fn of(
        entries: impl IntoIterator<Item = (Option<Token>, f64)>,
        n_vocab: usize,
        garbage: &dyn Fn(String) -> Error,
    ) -> Result<Self, Error> {
        let mut position = Self::default();
        for (id, logprob) in entries {
            if logprob.is_nan() || logprob > f64::from(MOST) {
                return Err(garbage(format!("a log-probability of {logprob}")));
            }
            let Some(id) = id else {
                position.n_dropped += 1;
                continue;
            };
            if usize::try_from(id).map_or(true, |id| id >= n_vocab) {
                position.n_dropped += 1;
                continue;
            }
            position.shown.push((id, (logprob as f32).clamp(LOWEST, 0.0)));
        }
        position.shown.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut ids: Vec<Token> = position.shown.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        if let Some((twice, _)) = ids.iter().zip(ids.iter().skip(1)).find(|(a, b)| a == b) {
            return Err(garbage(format!("token {twice} twice at one position")));
        }
        let mass = position.mass();
        if mass > MOST_MASS {
            return Err(garbage(format!("probabilities that add up to {mass:.3}")));
        }
        Ok(position)
    }

    /// One id that is certain.
    pub fn certain(id: Token) -> Self {
        Self { shown: vec![(id, 0.0)], ..Self::default() }
    }

    /// Every id that is known.
    pub fn known(&self) -> impl Iterator<Item = (Token, f32)> + '_ {
        self.shown.iter().chain(&self.named).copied()
    }

    /// Shows the `n` most probable. Some servers tell of the text's own token beside them: it is named, or forgotten. The
    /// others are as probable as the last that is shown at most, and not as it.
    pub fn keep(&mut self, n: usize, names_others: bool) {
        let others = self.shown.split_off(n.min(self.shown.len()));
        if names_others {
            self.named.extend(others);
        }
    }

    /// Takes in ids that were asked for and are not shown; how many.
    pub fn add_named(&mut self, told: &Self) -> usize {
        let known: BTreeSet<Token> = self.known().map(|(id, _)| id).collect();
        let n_before = self.named.len();
        self.named.extend(told.shown.iter().filter(|(id, _)| !known.contains(id)));
        self.named.len() - n_before
    }

    /// Probability that is known.
    pub fn mass(&self) -> f64 {
        self.known().map(|(_, logprob)| f64::from(logprob).exp()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(Option<Token>, f64)]) -> Result<Position, String> {
        let garbage = |what: String| Error::Garbage { url: "there".to_owned(), what };
        Position::of(entries.iter().copied(), 10, &garbage).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_shown_is_sorted_and_counted() {
        let position = of(&[(Some(3), -2.0), (None, -3.0), (Some(1), -0.5), (Some(12), -4.0)]).expect("a position");
        assert_eq!(position, Position { shown: vec![(1, -0.5), (3, -2.0)], n_dropped: 2, ..Position::default() });
        let lowest = of(&[(Some(0), 0.0), (Some(1), f64::from(f32::MIN))]).expect("a position");
        assert_eq!(lowest.shown[1], (1, LOWEST));
        assert_eq!(of(&[]).expect("nothing").mass(), 0.0);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (entries, why) in [
            (&[(Some(1), f64::NAN)][..], "NaN"),
            (&[(Some(1), 0.5)], "0.5"),
            (&[(Some(1), -1.0), (Some(1), -1.0)], "twice"),
            (&[(Some(1), -0.1), (Some(2), -0.1)], "add up"),
        ] {
            let refused = of(entries).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
    }
}
