//! What can be wrong with a file before it is loaded.

use std::path::PathBuf;

use super::foreign::Foreign;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },

    #[error("{} is {found}, expected a GGUF file", path.display())]
    NotAFile { path: PathBuf, found: &'static str },

    /// `is_adapter`: it was named as one.
    #[error("{} is {}, expected a GGUF file", path.display(), found.what)]
    Foreign { path: PathBuf, found: Foreign, is_adapter: bool },

    #[error("{} is not a GGUF file: it starts with {found:?}, expected \"GGUF\"", path.display())]
    NotGguf { path: PathBuf, found: String },

    #[error("{} is GGUF version {version}, expected 2 or 3", path.display())]
    Version { path: PathBuf, version: u32 },

    #[error("{} is damaged or incomplete: {what} at byte {offset} needs {needed} bytes, the file has {left} left", path.display())]
    Truncated { path: PathBuf, what: &'static str, offset: u64, needed: u64, left: u64 },

    #[error("{} is damaged: {what} at byte {offset}", path.display())]
    Damaged { path: PathBuf, what: String, offset: u64 },

    #[error("{} has {n} {what}, expected at most {most}", path.display())]
    TooMany { path: PathBuf, what: &'static str, n: u64, most: u64 },

    #[error("{} has the tensor `{name}` as {found}, which llama.cpp does not compute with: expected {expected}", path.display())]
    TensorType { path: PathBuf, name: String, expected: &'static str, found: &'static str },

    #[error("{} is a part of a split model: {what}", path.display())]
    Split { path: PathBuf, what: String },

    #[error("{} is no adapter for {}: {reason}", path.display(), model.display())]
    Adapter { path: PathBuf, model: PathBuf, reason: String },

    #[error("{} has no usable `{key}`: expected {expected}, got {found}", path.display())]
    Key { path: PathBuf, key: String, expected: &'static str, found: String },
}

impl Error {
    /// The same, of a file that was named as an adapter.
    pub(super) fn of_adapter(self) -> Self {
        match self {
            Self::Foreign { path, found, .. } => Self::Foreign { path, found, is_adapter: true },
            other => other,
        }
    }

    /// The next step, where there is one to tell.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("check the path; -hf user/repo, or `proxytune pull user/repo`, downloads models of a hub")
            }
            Self::Io { .. } => None,
            Self::NotAFile { .. } => Some("name a GGUF file on disk"),
            Self::Foreign { found, is_adapter, .. } => Some(found.hint(*is_adapter)),
            Self::NotGguf { .. } => Some("convert the model with llama.cpp's convert_hf_to_gguf.py"),
            Self::Version { version, .. } if (1..=3).contains(&version.swap_bytes()) => Some(
                "its numbers are big-endian: download another, or convert it with gguf-py's gguf_convert_endian.py",
            ),
            Self::Version { .. } => Some("convert the model again with a current llama.cpp"),
            Self::Truncated { .. } | Self::Damaged { .. } | Self::TooMany { .. } => {
                Some("download or copy the file again")
            }
            Self::TensorType { .. } => Some("download the file again, or convert the model with llama.cpp's own tools"),
            Self::Split { .. } => {
                Some("keep the files of a split model in one folder under their names, and name the first")
            }
            Self::Adapter { .. } => Some("name a LoRA adapter in GGUF format that was trained on this very model"),
            Self::Key { key, .. } if key.starts_with("adapter.") => Some("name a LoRA adapter in GGUF format"),
            Self::Key { key, .. } if key == "general.architecture" => {
                Some("base, expert and antiexpert are language models: decoders, not encoders or adapters")
            }
            Self::Key { key, .. } if key == "general.type" => {
                Some("an adapter is named with --lora, --expert-lora or --antiexpert-lora, beside its model")
            }
            Self::Key { key, .. } if key.starts_with("tokenizer.") => {
                Some("convert the model again, with its tokenizer")
            }
            Self::Key { .. } => Some("the file is damaged or was converted wrongly; get it again"),
        }
    }
}
