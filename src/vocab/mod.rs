//! Two vocabularies side by side: may logits of one be added to logits of the other, and under which ids?
//!
//! In: the metadata of two files. Out: a verdict with its reasons in words, and a map of ids where one is needed.
//! Tokens are compared as raw bytes, with their types; sizes alone prove nothing.

pub mod compare;
pub mod ids;
pub mod vocabulary;

pub use compare::{Verdict, compare};
pub use ids::IdMap;
pub use vocabulary::Vocabulary;
