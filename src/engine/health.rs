//! How an engine fares.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Id;
use super::about::About;
use crate::generate::event::Failure;

/// How an engine fares. Of one in a process of its own: what that told last, at most some 250 ms ago.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    pub state: State,
    /// Texts that have a slot, and requests that wait for one.
    pub n_running: usize,
    pub n_waiting: usize,
    /// Since the last tick, while there is something to do.
    pub age: Duration,
    /// How often its process was started again.
    pub n_restarts: usize,
    /// The process that it runs in, where it has one of its own.
    pub pid: Option<u32>,
    /// Why it was down last.
    pub last_failure: Option<Failure>,
    /// It does not come back: it was ended, or could not be loaded.
    pub has_ended: bool,
    /// Texts that have a slot.
    pub slots: Vec<SlotHealth>,
}

/// Whether an engine takes requests.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Files are being loaded: what, and a share of it from 0 to 1.
    Loading { what: String, share: f32 },
    /// It takes requests; facts of each ensemble.
    Ready(Arc<Vec<About>>),
    /// It takes none, and why. Unless [`Health::has_ended`], it comes back.
    Down { failure: Failure },
}

/// A text that has a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotHealth {
    pub id: Id,
    pub ensemble: usize,
    /// Tokens of the prompts, all lanes together, and how many of them are read or were there.
    pub n_prompt: usize,
    pub n_prompt_read: usize,
    /// Tokens of the answer.
    pub n_decoded: usize,
    /// Its prompts are read: it is being written.
    pub is_writing: bool,
}
