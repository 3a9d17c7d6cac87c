//! An engine in a process of its own.

mod setup;

pub use setup::{Child, Planned, Setup};

/// The hidden command under which `proxytune` calls [`serve`].
pub const COMMAND: &str = "@@engine";
