//! Two vocabularies side by side: may logits of one be added to logits of the other?
//!
//! In: the metadata of two files. Out: a verdict with its reasons in words. Tokens are compared as raw bytes, with
//! their types; sizes alone prove nothing.

pub mod compare;
pub mod vocabulary;

pub use compare::{Verdict, compare};
pub use vocabulary::Vocabulary;
