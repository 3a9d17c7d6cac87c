//! Models that steer one another: lanes in step, and what they add up to.
//!
//! An [`Ensemble`] is topology: models in contexts, a lane for every model and view, pairs of lanes, what ends a text. It
//! never changes while texts run. A [`Sequence`] is one text on all its lanes: plain data, owned by whoever runs it. What a
//! lane holds belongs to the sequence, and so does how far the pairs steer.
//!
//! ```text
//! prompts ─ begin ─► wanted tokens ─ step (every sequence, one batch for each context) ─► rows ─ row ─► base and terms
//!                        ▲                                                                  │
//!                        └───────────── push (the token that was chosen, drafts) ───────────┘
//! ```
//!
//! All lanes hold the same generated tokens; their prompts may differ, and so does how much each lane holds. A plugin's
//! ensemble has no base: its host owns that.

mod context;
mod draw;
mod ensemble;
pub mod error;
pub mod facts;
mod from_recipe;
pub mod idle;
mod load;
mod loaded;
pub mod models;
pub mod plan;
mod prompts;
pub mod role;
pub mod rows;
mod scored;
pub mod sequence;
mod step;
mod tokens;
pub mod topology;
pub mod weights;

pub use ensemble::{Ends, Ensemble};
pub use error::Error;
pub use facts::Facts;
pub use idle::Idle;
pub use loaded::Loaded;
pub use models::Models;
pub use plan::{Base, HostVocabulary, ModelSource, PairPlan, Plan, SidePlan, Texts};
pub use role::Role;
pub use rows::Rows;
pub use sequence::{Prompts, Sampled, Sequence, ServerDraw};
pub use step::Work;
pub use topology::{Lane, Side, Topology};
pub use weights::{Weights, WeightsRequest};
