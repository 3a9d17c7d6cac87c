//! Measurements that say whether steering helps.
//!
//! In: a steered model, and a text or the items of a task. Out: figures with their errors. Nothing here prints.
//!
//! A task is asked like this:
//!
//! ```text
//! task (TOML) + data (JSONL) ─► items: prompt, reference ─► runner: many at once, contender by contender ─► exact match
//!                                                              ▲                                                │
//!                                     what the results hold is not asked again ◄── results (JSONL) ◄── a record for each
//!                                                                                      │
//!                                                                     standing: shares, paired intervals, verdict
//! ```

#[cfg(feature = "eval")]
pub mod exact;
#[cfg(feature = "eval")]
pub mod fingerprint;
#[cfg(feature = "eval")]
pub mod items;
pub mod perplexity;
#[cfg(feature = "eval")]
pub mod results;
#[cfg(feature = "eval")]
pub mod runner;
#[cfg(feature = "eval")]
pub mod standing;
#[cfg(feature = "eval")]
pub mod task;
#[cfg(feature = "eval")]
mod task_error;

#[cfg(feature = "eval")]
pub use task_error::TaskError;
