//! What follows from the runs: ratios of neighbours, shares, what became of drafts.

use serde::Serialize;

use super::Subjects;
use super::batches::Batches;
use super::costs::StepCosts;
use super::memory::Memory;
use super::row::How;
use super::settings::Settings;
use super::timed::{Test, Timed};
use crate::arithmetic::statistics::Median;
use crate::generate::draft::Tally;

/// Ratios within a round, one prompt after the other: what the machine was busy with besides, it was for all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Ratios {
    /// Tokens a second with drafts, over those of lockstep and over those of the base alone.
    pub speculative_over_lockstep: Option<Median>,
    pub speculative_over_base: Option<Median>,
    /// Tokens a second in lockstep over those of the base alone.
    pub lockstep_over_base: Option<Median>,
    /// The time of lockstep over that of all its models alone.
    pub lockstep_time_over_parts: Option<Median>,
}

impl Ratios {
    pub(super) fn of(test: &Test, lanes: &[usize]) -> Self {
        let place = |how| test.subjects.iter().position(|of| *of == how);
        let ratio = |over: Option<usize>, under: Option<usize>| {
            let (over, under) = (over?, under?);
            (!test.rounds.is_empty())
                .then(|| Median::of(test.rounds.iter().map(|round| round[over] as f64 / round[under] as f64)))
        };
        let (base, lockstep, speculative) = (place(How::Alone(0)), place(How::Lockstep), place(How::Speculative));
        let parts = |round: &Vec<u64>| lanes.iter().map(|&model| round[model] as f64).sum::<f64>();
        let over_parts = lockstep
            .filter(|_| !test.rounds.is_empty())
            .map(|lockstep| Median::of(test.rounds.iter().map(|round| round[lockstep] as f64 / parts(round))));
        Self {
            speculative_over_lockstep: ratio(lockstep, speculative),
            speculative_over_base: ratio(base, speculative),
            lockstep_over_base: ratio(base, lockstep),
            lockstep_time_over_parts: over_parts,
        }
    }
}

/// A small model's time for a token over the base's: r.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    pub role: String,
    pub r: Median,
}

impl Share {
    pub(super) fn all(test: &Test, subjects: &Subjects) -> Vec<Self> {
        if test.rounds.is_empty() {
            return Vec::new();
        }
        let small = subjects.alone.iter().enumerate().skip(1);
        let share = |(i, alone): (usize, &super::Alone)| Self {
            role: alone.name(),
            r: Median::of(test.rounds.iter().map(|round| round[i] as f64 / round[0] as f64)),
        };
        small.map(share).collect()
    }
}

/// Drafts, and those that were accepted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Accepted {
    pub n_drafted: usize,
    pub n_accept: usize,
    /// Acceptance rate; `None` without a draft.
    pub rate: Option<f64>,
}

impl From<Tally> for Accepted {
    fn from(tally: Tally) -> Self {
        let rate = Some(tally.rate()).filter(|rate| rate.is_finite());
        Self { n_drafted: tally.n_drafted, n_accept: tally.n_accept, rate }
    }
}

/// What became of the drafts of all speculative runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drafts {
    pub all: Accepted,
    pub by_model: Accepted,
    pub by_lookup: Accepted,
    /// By place in the draft, from the first draft on.
    pub by_place: Vec<Accepted>,
    pub n_steps: usize,
    pub n_tokens: usize,
    /// Steps by how many tokens they decoded, from 0 on.
    pub steps: Vec<usize>,
    /// Texts that were written with drafts, and those that are what lockstep wrote, token by token.
    pub n_texts: usize,
    pub n_same: usize,
}

impl Drafts {
    fn of(timed: &Timed, n_gen: usize) -> Option<Self> {
        let Timed { stats, .. } = timed;
        (timed.n_texts > 0).then(|| Self {
            all: stats.all().into(),
            by_model: stats.by_model.into(),
            by_lookup: stats.by_lookup.into(),
            by_place: stats.by_place.iter().map(|&tally| tally.into()).collect(),
            n_steps: stats.n_steps(),
            n_tokens: timed.n_texts * n_gen,
            steps: stats.steps.clone(),
            n_texts: timed.n_texts,
            n_same: timed.n_same,
        })
    }
}

/// Figures that follow from the runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Derived {
    pub ratios: Ratios,
    pub shares: Vec<Share>,
    pub step_costs: Vec<StepCosts>,
    pub batches: Vec<Batches>,
    pub drafts: Option<Drafts>,
    pub memory: Option<Memory>,
}

impl Derived {
    pub(super) fn of(subjects: &Subjects, settings: &Settings, timed: Timed, memory: Option<Memory>) -> Self {
        Self {
            ratios: Ratios::of(&timed.generating, &subjects.lanes),
            shares: Share::all(&timed.generating, subjects),
            drafts: Drafts::of(&timed, settings.n_gen),
            step_costs: timed.costs,
            batches: timed.batches,
            memory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_rounds() {
        let subjects = vec![How::Alone(0), How::Alone(1), How::Lockstep, How::Speculative];
        // The machine is half as fast in every second round.
        let rounds = (0..6).map(|i| [100, 10, 120, 80].map(|ns| ns * (1 + i % 2)).to_vec()).collect();
        let test = Test { subjects, rounds, ..Test::default() };
        let ratios = Ratios::of(&test, &[0, 1, 1]);
        let same = |ratio: f64| Some(Median { median: ratio, interval: Some((ratio, ratio)), n: 6 });
        assert_eq!(ratios.speculative_over_lockstep, same(1.5));
        assert_eq!(ratios.speculative_over_base, same(1.25));
        assert_eq!(ratios.lockstep_over_base, same(100.0 / 120.0));
        assert_eq!(ratios.lockstep_time_over_parts, same(1.0));
        assert_eq!(Ratios::of(&Test::default(), &[0]), Ratios::default());
    }

    #[test]
    fn no_draft_has_no_rate() {
        assert_eq!(Accepted::from(Tally::default()).rate, None);
        assert_eq!(Accepted::from(Tally { n_drafted: 4, n_accept: 3 }).rate, Some(0.75));
    }
}
