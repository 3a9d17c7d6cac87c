//! How fast it is and where the time goes: every model by itself, and the steered model in lockstep and with guesses.
//!
//! In: loaded subjects, prompts, how often to repeat. Out: rows as llama-bench has them, and figures that follow from
//! them. Subjects take turns at every prompt, so that ratios are of neighbours in time. Nothing here prints.

mod bandwidth;
mod batches;
mod bytes;
mod costs;
mod derived;
mod error;
mod memory;
pub mod prompts;
mod report;
mod row;
mod runs;
mod subjects;

use std::sync::atomic::AtomicBool;

pub use batches::Batches;
pub use costs::StepCosts;
pub use derived::{Derived, Guesses, Kept, Ratios, Share};
pub use error::Error;
pub use memory::{Memory, Traffic};
pub use report::{DeviceInfo, Report, System};
pub use row::{How, Row};
pub use subjects::{Alone, Subjects};

use crate::generate::Draft;
use crate::generate::draft::MAX_STEP;
use crate::llama::backend::Backend;
use crate::prompt::Conversation;
use crate::recipe::Schedule;
use crate::sampling::Sampling;

/// Rows that every context needs to be able to put out: as many as the largest step has, or is measured with.
pub const N_ROWS: usize = MAX_STEP;

/// What is measured, and how often. A test of no tokens is left out.
#[derive(Debug, Clone)]
pub struct Settings {
    pub n_prompt: usize,
    pub n_gen: usize,
    pub n_repetitions: usize,
    /// Run everything once before it is measured.
    pub warms_up: bool,
    pub sampling: Sampling,
    /// α of each pair, or one for all; empty for what was planned.
    pub alphas: Vec<Schedule>,
    pub draft: Draft,
}

/// What is being measured, and how many runs are done of how many.
#[derive(Debug)]
pub struct Progress<'a> {
    pub what: &'a str,
    pub n_done: usize,
    pub n_all: usize,
}

/// Measures everything. When `cancel` is set the report covers what was done; `progress` hears of every run.
pub fn measure(
    backend: &Backend,
    subjects: &mut Subjects,
    settings: &Settings,
    prompts: &[Conversation],
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Report, Error> {
    let mut runner = runs::Runner::new(subjects, settings, prompts, cancel, progress)?;
    let timed = runner.run()?;
    report::make(backend, subjects, settings, timed)
}
