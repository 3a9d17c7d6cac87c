//! How fast it is and where the time goes: every model by itself, and the steered model in lockstep and with drafts.
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
mod rounds;
mod row;
mod runs;
mod settings;
mod subjects;
mod timed;

use std::sync::atomic::AtomicBool;

pub use batches::Batches;
pub use costs::StepCosts;
pub use derived::{Accepted, Derived, Drafts, Ratios, Share};
pub use error::Error;
pub use memory::{Memory, Traffic};
pub use report::{DeviceInfo, Report, System};
pub use row::{How, Measurement};
pub use settings::{N_ROWS, Progress, Settings};
pub use subjects::{Alone, Subjects};

use crate::llama::backend::Backend;
use crate::prompt::Conversation;

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
