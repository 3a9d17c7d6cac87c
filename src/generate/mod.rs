//! One generation without I/O: a prompt, rounds of tokens, an end.
//!
//! ```text
//! want: the token that was chosen and drafts behind it ─► (the ensemble's step) ─► take: rows ─ chain ─► events
//!   ▲                                                                                      │
//!   └──────────────────────── the next token is chosen ────────────────────────────────────┘
//! ```
//!
//! A [`Task`] says what it wants decoded and takes the rows; who decodes, with what else in the batch and when, is the
//! engine's. Nothing here prints, waits or looks at a clock.

mod ahead;
pub mod answer;
mod begun;
pub mod draft;
pub mod event;
mod form;
mod number;
pub mod probs;
pub mod request;
pub mod said;
mod scoring;
pub mod served;
pub mod task;
pub mod text;

pub use answer::Answer;
pub use draft::Draft;
pub use event::{Event, Failure, Finish, StopReason};
pub use request::{Input, Request};
pub use said::Said;
pub use served::Served;
pub use task::Task;
