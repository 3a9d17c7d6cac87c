//! Lanes that steer: the pairs' lanes as one offset, and the base lane with its offset as one model.
//!
//! In: a plan of files and α, then tokens. Out: for each position the base's row and the terms to add to it. Two
//! levels, since a plugin needs the offset alone: its host owns the base.
//!
//! All lanes hold the same generated tokens; their prompts may differ, and so does how much each lane holds.

pub mod error;
pub mod load;
pub mod offset;
pub mod role;
pub mod steered;

pub use error::Error;
pub use load::{ModelSource, PairPlan, Plan, SidePlan};
pub use offset::Offset;
pub use role::Role;
pub use steered::{Prompts, Steered};
