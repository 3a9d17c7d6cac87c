//! A base behind HTTP that shows only log-probabilities.
//!
//! To the house it is a context like any other: texts of tokens go in, rows come out. Requests are on their way while the
//! pair decodes.
//!
//! ```text
//! ids ─ submit ─► question ─ worker: HTTP, tries ─► answer ─ checks ─► positions ─ collect ─► rows
//!                     ▲                                                    │
//!                     └── what the base wrote on is kept: it may be asked next ──┘
//! ```
//!
//! What a server shows of a position is some ids with their log-probabilities. Ids that it does not show are never chosen;
//! where a text is scored, they share evenly what the others leave. [`Server::draws`]: a llama-server samples itself, from
//! its logits and the offset that it is sent.

mod context;
mod error;
mod http;
mod ids;
mod llama_server;
mod offer;
mod openai;
mod position;
mod row;
mod secret;
mod server;
mod stats;
mod stop;
mod tokenizer;
mod wire;
mod words;
mod workers;

pub use context::Context;
pub use error::Error;
pub use llama_server::not_exact;
pub use offer::{Offer, Verified};
pub use row::Row;
pub use secret::{Secret, VARIABLE};
pub use server::{Server, Source, Trial};
pub use stats::Stats;
pub use stop::stop_when;
pub use words::Words;

/// A token's id, as llama.cpp has it.
type Token = i32;
