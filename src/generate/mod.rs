//! One sequence's state machine: prompt, rounds, end.
//!
//! In: a steered model and a request. Out: tokens and text as they are decided, and why it ended. One sequence at a
//! time; many at once are the engine's.

pub mod draft;
pub mod generation;
pub mod probs;
pub mod text;

pub use draft::Draft;
pub use generation::{Finish, Generation, Request, Step};
