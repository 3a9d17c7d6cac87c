//! What can be wrong with a file before it is loaded.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },

    #[error("{} is {found}, expected a GGUF file", path.display())]
    NotAFile { path: PathBuf, found: &'static str },

    #[error("{} is not a GGUF file: it starts with {found:?}, expected \"GGUF\"", path.display())]
    NotGguf { path: PathBuf, found: String },

    #[error("{} is GGUF version {version}, expected 2 or 3", path.display())]
    Version { path: PathBuf, version: u32 },

    #[error("{} is damaged or incomplete: {what} at byte {offset} needs {needed} bytes, the file has {left} left", path.display())]
    Truncated { path: PathBuf, what: &'static str, offset: u64, needed: u64, left: u64 },

    #[error("{} is damaged: {what} at byte {offset}", path.display())]
    Damaged { path: PathBuf, what: String, offset: u64 },

    #[error("{} has no usable `{key}`: expected {expected}, got {found}", path.display())]
    Key { path: PathBuf, key: String, expected: &'static str, found: String },
}
