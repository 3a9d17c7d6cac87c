//! Values that somebody chose and that cannot be: the one error for them, whichever room they are checked in.
//!
//! A sampling parameter, α, a context size, a number of threads: all of them are refused in the same words, and a caller
//! can tell a value that was typed wrong from a file or a computation that failed.

use std::fmt::Display;

/// A parameter's value is outside of its range. What was expected says what to do: there is no further hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value}, expected {expected}")]
#[non_exhaustive]
pub struct OutOfRange {
    /// As it is typed, without the dashes of a flag.
    pub name: &'static str,
    pub value: String,
    pub expected: String,
}

impl OutOfRange {
    pub fn new(name: &'static str, value: impl Display, expected: impl Into<String>) -> Self {
        Self { name, value: value.to_string(), expected: expected.into() }
    }
}
