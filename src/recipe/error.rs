//! What can be wrong with a recipe or a sampling parameter.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read the recipe {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },

    #[error("the recipe {} is not valid: {source}", path.display())]
    Toml { path: PathBuf, source: Box<toml::de::Error> },

    #[error("the recipe {} is not valid: {source}", path.display())]
    Invalid { path: PathBuf, source: Box<Self> },

    #[error("no recipe is called {name:?}; looked in {}", looked_in.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", "))]
    Unknown { name: String, looked_in: Vec<PathBuf> },

    #[error("{name} is {value}, expected {expected}")]
    Parameter { name: &'static str, value: String, expected: String },
}

impl Error {
    /// The error for a value outside its range.
    pub(crate) fn parameter(name: &'static str, value: impl std::fmt::Display, expected: impl Into<String>) -> Self {
        Self::Parameter { name, value: value.to_string(), expected: expected.into() }
    }
}
