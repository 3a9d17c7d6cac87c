//! How the next token is chosen: llama.cpp's sampling parameters under llama.cpp's names and with its defaults.
//!
//! In: what a recipe, a flag or a request says. Out: plain types whose values llama.cpp survives, once
//! [`Sampling::validate`] has passed them, or an [`OutOfRange`](crate::parameter::OutOfRange) that says which does not
//! fit. Nothing is sampled here: `llama::chain` builds the samplers, and compiles the grammar, which is only text here.

mod biases;
mod order;
mod parameters;

pub use order::{DEFAULT_ORDER, Sampler, Samplers};
pub use parameters::{Sampling, check_list, random_seed};
