//! The HTTP server: what clients of llama.cpp, `OpenAI`, Anthropic and Ollama send becomes requests to the engine.
//!
//! ```text
//! connection ─ listen (limits, deadlines) ─ browser, auth ─ route ─ body: JSON ─ wire types ─ Job
//!                                                                                    │ engine::Handle
//! client ◄─ JSON, SSE or lines ◄─ wire types ◄─ Outcome ◄─ events, as they come ◄────┘
//! ```
//!
//! Every route that writes text makes a `job::Job` of what it was sent, and what comes of it out of a
//! `running::Running`; the dialects differ in nothing else. Models, tokens and templates are the engine's, which may be in
//! another process: nothing here calls llama.cpp, and no name in a request is ever a path. Errors become statuses in
//! [`error`] alone.

pub mod app;
mod auth;
mod body;
mod browser;
pub mod catalog;
mod clients;
pub mod error;
mod exchange;
mod fill_in;
mod hosts;
mod io;
mod job;
pub mod listen;
#[cfg(test)]
mod made_up;
mod metrics;
mod openapi;
mod origins;
mod outcome;
mod page;
mod questions;
mod replies;
mod routes;
mod running;
pub mod settings;
mod sse;
mod weight;
mod wire;

pub use app::App;
pub use catalog::{Catalog, Served};
pub use error::Error;
pub use hosts::Hosts;
pub use listen::serve;
pub use origins::Origins;
pub use settings::Settings;

/// What `system_fingerprint` says: who answered.
const FINGERPRINT: &str = concat!("proxytune-", env!("CARGO_PKG_VERSION"));
