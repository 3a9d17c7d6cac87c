//! Fields of requests and replies that several routes share.
//!
//! A field that is absent or null leaves what the server was told at its start; one that is not known is left alone; one that is
//! known and cannot be honoured is refused by its name.

pub mod completion;
pub mod explain;
pub mod limits;
pub mod logprobs;
pub mod messages;
pub mod prompt;
pub mod response_format;
pub mod sampling;
pub mod settings;
pub mod steering;
pub mod tokens;
pub mod tools;

/// An id that no other answer has.
pub fn id(prefix: &str) -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{prefix}{:016x}{:016x}", random(), random())
}
