//! Whether a plan's files can work together, before their weights are loaded, and whether it will help.
//!
//! In: a plan. Out: facts about every file, findings with what to do about them, and the memory that the plan takes.
//! Nothing here prints. llama.cpp is asked through a [`probe`], which a caller may run in a process of its own: on
//! some files that pass every check of this crate it still aborts.

pub mod check;
mod finding;
pub mod main_memory;
pub mod memory;
pub mod model;
pub mod probe;
mod rules;
mod weights;

pub use check::{Inspection, check};
pub use finding::{Finding, Level};
