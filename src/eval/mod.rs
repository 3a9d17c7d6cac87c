//! Measurements that say whether steering helps.
//!
//! In: a steered model and a text. Out: figures with their errors. Nothing here prints.

pub mod perplexity;
