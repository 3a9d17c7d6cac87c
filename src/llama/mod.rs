//! The only room that speaks to llama.cpp, and the only one with `unsafe`.
//!
//! In: paths, tokens, sampling parameters. Out: models, contexts that turn tokens into rows of logits, and chains that
//! turn a row into a token, with the proxy-tuning stage as one of their samplers.
//!
//! Which handle is whose, decided once:
//! - `llama-cpp-2` serves where its safe API reaches: the backend (a host brings its own) and the list of devices.
//! - Models and contexts are our own handles on `llama-cpp-sys-2`. The wrapper's context borrows its model, so nothing
//!   could own both; it has no setter for `n_outputs_max`; it sets one LoRA adapter only; it hides the pointers that a chain needs.
//! - Chain and stage are our own handles: the wrapper cannot put a foreign sampler into a chain.
//!
//! Every pre-condition that llama.cpp answers with an abort is checked before the call; every return code is decoded
//! here, once.

#![allow(unsafe_code)]

pub mod abort;
pub mod adapter;
pub mod backend;
mod batch;
mod candidates;
pub mod chain;
mod constrained;
pub mod context;
pub mod device;
pub mod draft_chain;
pub mod error;
pub mod fill_in;
mod gbnf;
pub mod grammar;
mod gumbel;
pub mod invariance;
pub mod kernels;
pub mod leave;
pub mod log;
pub mod model;
pub mod overrides;
mod parts;
mod pieces;
pub mod probe;
mod raw_chain;
pub mod rpc;
mod specials;
mod spelling;
pub mod stage;
mod table;
pub mod text;

#[cfg(test)]
mod tests;

pub use error::Error;

/// A token's id in its vocabulary, as llama.cpp has it.
pub type Token = llama_cpp_sys_2::llama_token;
