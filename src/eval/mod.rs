//! Measurements that say whether steering helps, and the weights with which it helps most.
//!
//! In: a steered model, and texts or the items of a task. Out: figures with their errors. Nothing here prints.
//!
//! ```text
//! text ─ windows ───┐
//!                   ├─► texts ─ read: many sequences at once ─► every lane's rows ─┬─► figures (perplexity)
//! JSONL ─ documents ┤                                                              ├─► kept ─ search, figures (calibrate)
//! one answer ───────┘                                                              └─► influence, targets (inspect)
//!
//! task (TOML) + data (JSONL) ─► items: prompt, reference ─► runner: many at once, contender by contender ─► exact match
//!                                                              ▲                                                │
//!                                     what the results hold is not asked again ◄── results (JSONL) ◄── a record for each
//!                                                                                      │
//!                                                                     standing: shares, paired intervals, verdict
//! ```

pub mod calibrate;
#[cfg(feature = "eval")]
pub mod choice;
#[cfg(feature = "eval")]
pub mod contender;
#[cfg(feature = "eval")]
pub mod data;
pub mod documents;
#[cfg(feature = "eval")]
pub mod exact;
pub mod figures;
#[cfg(feature = "eval")]
pub mod fingerprint;
pub mod fit;
pub mod influence;
#[cfg(feature = "eval")]
pub mod item;
#[cfg(feature = "eval")]
pub mod items;
pub mod kept;
pub mod noise;
pub mod perplexity;
#[cfg(feature = "eval")]
mod prediction;
#[cfg(feature = "eval")]
pub mod questions;
pub mod reading;
#[cfg(feature = "eval")]
pub mod results;
#[cfg(feature = "eval")]
pub mod runner;
#[cfg(feature = "eval")]
pub mod scored;
#[cfg(feature = "eval")]
pub mod scoring;
#[cfg(feature = "eval")]
pub mod spec;
#[cfg(feature = "eval")]
pub mod standing;
pub mod targets;
#[cfg(feature = "eval")]
pub mod task;
#[cfg(feature = "eval")]
mod task_error;
pub mod texts;

pub use documents::Document;
#[cfg(feature = "eval")]
pub use task_error::TaskError;
pub use texts::Texts;
