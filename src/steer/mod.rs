//! Lanes that steer: the pairs' lanes as one offset, and the base lane with its offset as one model.
//!
//! In: a plan of files, views and α, then conversations and tokens. Out: for each position the base's row and the terms
//! to add to it. Two levels, since a plugin needs lanes and offset alone: its host owns the base.
//!
//! All lanes hold the same generated tokens; their prompts may differ, and so does how much each lane holds.

pub mod error;
mod from_recipe;
pub mod lanes;
pub mod load;
pub mod offset;
pub mod plan;
pub mod pool;
pub mod role;
pub mod steered;

pub use error::Error;
pub use lanes::Lanes;
pub use offset::Offset;
pub use plan::{ModelSource, PairPlan, Plan, SidePlan};
pub use pool::Pool;
pub use role::Role;
pub use steered::{Prompts, Steered};
