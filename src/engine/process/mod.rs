//! An engine in a process of its own, which a parent supervises: what ends llama.cpp ends the child, not the program.
//!
//! ```text
//! handles ── lines of commands ──► writer ─► stdin ─► serve ─► an engine on a thread; a desk for questions
//!    ▲                                                               │ events, replies, beats
//! listeners ◄── supervisor ◄─────── reader ◄──────── stdout ◄────────┘
//!                   │  starts the process, waits, and ends it when it no longer answers
//!                   └─► when it is gone: everybody who waits is told, and it is started again, later each time
//! ```
//!
//! In: a [`Setup`], requests and questions. Out: events and replies, plain data in JSON, a line each. stdin is also the life
//! line: the child ends itself when it is closed, so that no child outlives its parent. A beat at least every 250 ms says that
//! the child lives, and when it decoded last.

mod backoff;
mod frame;
mod link;
mod output;
mod serve;
pub(super) mod setup;
mod spawned;
pub(super) mod supervised;
mod supervisor;

pub use serve::serve;
pub use setup::{Child, Planned, Setup};

/// The hidden command under which `proxytune` calls [`serve`]. As the probe's, so that no word that somebody mistypes is taken
/// for it.
pub const COMMAND: &str = "@@engine";
