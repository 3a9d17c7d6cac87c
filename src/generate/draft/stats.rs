//! What became of the drafts.

use serde::{Deserialize, Serialize};

/// How many drafts there were and how many were accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub n_drafted: usize,
    pub n_accept: usize,
}

impl Tally {
    /// Acceptance rate; NaN before the first draft.
    #[must_use]
    pub fn rate(self) -> f64 {
        self.n_accept as f64 / self.n_drafted as f64
    }
}

/// Counts over a generation. A draft behind one that was not accepted counts as drafted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Drafts that a model made, and those that the text gave.
    pub by_model: Tally,
    pub by_lookup: Tally,
    /// By place in the draft.
    pub by_place: Vec<Tally>,
    /// Steps by how many tokens they decoded, from 0 on.
    pub steps: Vec<usize>,
}

impl Stats {
    /// Every draft.
    #[must_use]
    pub fn all(&self) -> Tally {
        let [a, b] = [self.by_model, self.by_lookup];
        Tally { n_drafted: a.n_drafted + b.n_drafted, n_accept: a.n_accept + b.n_accept }
    }

    #[must_use]
    pub fn n_steps(&self) -> usize {
        self.steps.iter().sum()
    }

    /// Counts what another generation counted as well.
    pub fn add(&mut self, other: &Self) {
        let add = |to: &mut Tally, from: &Tally| {
            to.n_drafted += from.n_drafted;
            to.n_accept += from.n_accept;
        };
        add(&mut self.by_model, &other.by_model);
        add(&mut self.by_lookup, &other.by_lookup);
        self.by_place.resize(self.by_place.len().max(other.by_place.len()), Tally::default());
        self.by_place.iter_mut().zip(&other.by_place).for_each(|(to, from)| add(to, from));
        self.steps.resize(self.steps.len().max(other.steps.len()), 0);
        self.steps.iter_mut().zip(&other.steps).for_each(|(to, from)| *to += from);
    }

    pub(super) fn count(&mut self, n_drafted: usize, n_accept: usize, by_lookup: bool) {
        let tally = if by_lookup { &mut self.by_lookup } else { &mut self.by_model };
        tally.n_drafted += n_drafted;
        tally.n_accept += n_accept;
        self.by_place.resize(self.by_place.len().max(n_drafted), Tally::default());
        for (i, place) in self.by_place.iter_mut().take(n_drafted).enumerate() {
            place.n_drafted += 1;
            place.n_accept += usize::from(i < n_accept);
        }
        self.steps.resize(self.steps.len().max(n_drafted + 2), 0);
        self.steps[n_drafted + 1] += 1;
    }
}
