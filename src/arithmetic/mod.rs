//! Pure numbers on plain slices: the formula, log-softmax, what moves between two distributions, the weights that predict
//! best, statistics, resampling, reproducible noise, sizes in words.
//!
//! In: rows of logits `[n_vocab]`. Out: rows and scalars. No I/O, no `unsafe`, nothing that names llama.cpp.

pub mod bootstrap;
pub mod hidden;
pub mod log_linear;
pub mod logprobs;
pub mod newton;
pub mod noise;
pub mod offset;
pub mod plausibility;
pub mod row;
pub mod shift;
pub mod softmax;
pub mod statistics;
pub mod units;
