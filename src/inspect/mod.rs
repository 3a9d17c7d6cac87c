//! Whether a plan's files can work together, before their weights are loaded, and whether it will help.
//!
//! In: a plan. Out: facts about every file, findings with what to do about them, and the memory that the plan takes.
//! Nothing here prints.
//!
//! llama.cpp ends its process on files whose numbers do not fit together, and no table of ours follows its assertions.
//! So it is asked in a process of its own first: [`probe::Prober`] for whoever loads a plan, and for [`check()`], which
//! also wants the answers. The probe is there without the feature `inspect`, which brings the rest.

#[cfg(feature = "inspect")]
pub mod check;
#[cfg(feature = "inspect")]
mod finding;
#[cfg(feature = "inspect")]
pub mod fit;
#[cfg(feature = "inspect")]
pub mod main_memory;
#[cfg(feature = "inspect")]
pub mod memory;
#[cfg(feature = "inspect")]
pub mod model;
pub mod probe;
#[cfg(feature = "inspect")]
mod rules;
#[cfg(feature = "inspect")]
mod server;
#[cfg(feature = "inspect")]
mod weights;

#[cfg(feature = "inspect")]
pub use check::{Inspection, check};
#[cfg(feature = "inspect")]
pub use finding::{Finding, Level};
#[cfg(feature = "inspect")]
pub use rules::{CANCELLED_BASE, CANCELLED_BASE_HINT};
#[cfg(feature = "inspect")]
pub use server::server;
