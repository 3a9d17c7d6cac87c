//! What was measured, run by run.

use jiff::Timestamp;

use super::batches::Batches;
use super::costs::StepCosts;
use super::row::How;
use crate::generate::draft::Stats;

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Timed {
    pub reading: Test,
    pub generating: Test,
    /// Of every speculative run, taken together.
    pub stats: Stats,
    /// Steered texts with drafts, and those of them that are what lockstep wrote.
    pub n_texts: usize,
    pub n_same: usize,
    /// Tokens of a prompt, on average.
    pub n_prompt: f64,
    pub costs: Vec<StepCosts>,
    pub batches: Vec<Batches>,
}

/// Rounds of one kind of run; in each every subject has its turn.
#[derive(Debug, Default)]
pub(super) struct Test {
    pub subjects: Vec<How>,
    pub began: Timestamp,
    /// Nanoseconds by round and subject. A round that was broken off is not among them.
    pub rounds: Vec<Vec<u64>>,
}

impl Test {
    /// All runs of a subject.
    pub fn samples(&self, subject: How) -> Option<Vec<u64>> {
        let at = self.subjects.iter().position(|of| *of == subject)?;
        Some(self.rounds.iter().map(|round| round[at]).collect())
    }
}
