//! Many texts at once, on one thread: slots, a queue, continuous batching.
//!
//! There is no phase for prompts and none for tokens. Every text wants tokens decoded, and a tick brings all of them nearer
//! to what they want:
//!
//! ```text
//! tick:  admit      waiting tasks get a slot and the sequence that holds most of their prompts
//!        want       writing tasks: the token that was chosen, and drafts of the text; reading ones: a piece of their
//!                   prompts, as far as the budget of the tick goes
//!        draft      while any task waits for a draft: one step on the lanes that draft, for all of them
//!        step       everything that is wanted, one batch for each context
//!        take       rows become tokens, tokens become events
//!        retire     slots of texts that have ended are free; their sequences stay as they are, for prompts to come
//! ```
//!
//! One text at a time, a new engine answers the same requests with the same texts on every run, given that they have seeds
//! or are greedy and that no [`Length::Timed`](crate::generate::draft::Length::Timed) is asked for: nothing depends on a
//! clock. Where logits depend on what a batch holds, a text also depends on its neighbours and on what is kept of earlier
//! prompts; with [`Texts::apart`](crate::steer::Texts::apart) and weights and a cache that round alike for one token and for
//! several it does not.
//!
//! In: requests. Out: events, by request. A text that fails ends by itself; one that is cancelled is gone at the next tick; one
//! that is steered otherwise is so from its next token on.
//! [`Engine`] is ticked by whoever owns it; [`Handle`] is one that runs elsewhere, on a thread of its own or in a supervised
//! [`process`], with a [`Desk`] for what is asked beside the texts.

pub mod about;
pub mod desk;
mod handle;
pub mod health;
mod listeners;
pub mod process;
mod resident;
mod slot;
mod slots;
mod thread;
mod tick;
mod watchdog;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use about::About;
pub use desk::{Desk, Question, Reply};
pub use handle::{Handle, Running};
pub use health::{Health, SlotHealth, State};
pub use listeners::Listener;
pub use process::{Child, Planned, Setup};
pub use slots::Engine;

/// Most texts at the same time: llama.cpp's contexts hold 256 sequences, and a context may have four lanes of a text.
pub const MAX_SLOTS: usize = 64;

/// Which request.
pub type Id = u64;

/// How much is done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Texts that are generated at the same time.
    pub n_slots: usize,
    /// Requests that may wait for a slot; one more is refused.
    pub n_queue: usize,
    /// Most tokens of prompts in a tick, on each lane, while other texts are being written: what a prompt may hold them up
    /// by. Without others as much as a batch takes.
    pub n_chunk: usize,
    /// Without a tick for so long, a [`Handle`] gives up everything that runs, and a process of its own is started again.
    /// `None` waits forever.
    pub watchdog: Option<Duration>,
}

impl Settings {
    /// As many slots as an ensemble has texts, at most.
    #[must_use]
    pub fn within(self, n_texts: usize) -> Self {
        Self { n_slots: self.n_slots.clamp(1, n_texts.max(1)), ..self }
    }

    /// Requests that are taken in at the same time.
    #[must_use]
    pub fn n_max(&self) -> usize {
        self.n_slots + self.n_queue
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { n_slots: 1, n_queue: 64, n_chunk: 64, watchdog: None }
    }
}
