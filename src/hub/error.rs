//! What can go wrong between a hub and the cache.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::text_file;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the {what} {name:?} is refused: {why}")]
    Name { what: &'static str, name: String, why: &'static str },

    #[error("{name} is {value:?}, expected {expected}")]
    Setting { name: &'static str, value: String, expected: &'static str },

    #[error("{repo} has no file {file:?}")]
    NoFile { repo: String, file: String, there: Vec<String> },

    #[error("{repo} has no GGUF model{}", quant.as_ref().map(|quant| format!(" in {quant}")).unwrap_or_default())]
    NoQuant { repo: String, quant: Option<String>, there: Vec<String> },

    #[error("{first:?} is split, and {} of its files are missing: {}", missing.len(), list(missing))]
    MissingParts { first: String, missing: Vec<String> },

    #[error("the hub gives no SHA-256 for {file:?} (it is not in LFS), so a download could not be verified")]
    Unverifiable { file: String },

    #[error("the hub's answer is refused: {0}")]
    Refused(String),

    #[error("{wanted}: access denied (HTTP {status}){}", said.as_ref().map(|said| format!(": {said:?}")).unwrap_or_default())]
    Denied { wanted: String, status: u16, had_token: bool, said: Option<String> },

    #[error("{wanted} is not on the hub {hub} (HTTP 404)")]
    NotFound { wanted: String, hub: String },

    #[error("{url} answered with HTTP {status}{}", retry_after.map(|wait| format!(" and asks to wait {} s", wait.as_secs())).unwrap_or_default())]
    Status { url: String, status: u16, retry_after: Option<Duration> },

    #[error("{url} cannot be reached: {what}")]
    Unreachable { url: String, what: String },

    #[error("the connection to {url} failed: {what}")]
    Cut { url: String, what: String },

    #[error("{file:?} has another length than its listing says: expected {expected} bytes, got {got}")]
    Length { file: String, expected: u64, got: u64 },

    #[error("{file:?} is not what its listing says: expected SHA-256 {expected}, got {got}")]
    Checksum { file: String, expected: String, got: String },

    #[error("{file:?} of {repo} is another file than was asked for: expected SHA-256 {expected}, got {got}")]
    Other { repo: String, file: String, expected: String, got: String },

    #[error("{} is damaged: expected SHA-256 {expected}, got {got}", path.display())]
    Spoilt { path: PathBuf, expected: String, got: String },

    #[error("not enough space in {}: {needed} bytes are needed, {free} are free", folder.display())]
    Space { folder: PathBuf, needed: u64, free: u64 },

    #[error("the disk is full: {} needs {needed} bytes more", path.display())]
    Full { path: PathBuf, needed: u64 },

    #[error(transparent)]
    Text(#[from] text_file::Error),

    #[error("the token is not sent to {hub}, which is not encrypted")]
    PlainToken { hub: String },

    #[error("{} is refused: {why}", path.display())]
    Place { path: PathBuf, why: &'static str },

    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },

    #[error("{wanted} is not in the cache {}, and the hub is not asked offline", cache.display())]
    Offline { wanted: String, cache: PathBuf },

    #[error("in the cache, which is all that is looked at offline: {source}")]
    NotCached { source: Box<Self> },

    #[error("cancelled")]
    Cancelled,
}

impl Error {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { path: path.to_path_buf(), source }
    }

    /// It may be gone a moment later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Cut { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// The hub gave no answer that says anything of what was asked.
    pub(super) fn is_unreachable(&self) -> bool {
        self.is_passing() || matches!(self, Self::Unreachable { .. })
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether what was asked for is at fault, and not the hub or the disk.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Name { .. } | Self::Setting { .. })
    }

    /// The next step, where there is one to tell.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Name { what: "repository" | "quantisation", .. } => "write user/repo or user/repo:Q4_K_M".to_owned(),
            Self::NoFile { there, .. } | Self::NoQuant { there, .. } if !there.is_empty() => {
                format!("there is {}", list(there))
            }
            Self::NoQuant { .. } => "look for a repository whose name ends in -GGUF".to_owned(),
            Self::Denied { had_token: false, .. } => {
                "a gated or private model needs a token: set HF_TOKEN, and accept its terms on its page".to_owned()
            }
            Self::Denied { .. } => {
                "HF_TOKEN was sent: accept the model's terms on its page, or check the token".to_owned()
            }
            Self::Text(error) => error.hint().to_owned(),
            Self::PlainToken { .. } => "name the hub with https://, or leave the token out: unset HF_TOKEN and \
                HF_TOKEN_PATH; HF_HUB_DISABLE_IMPLICIT_TOKEN=1 leaves out the one that `hf auth login` saved"
                .to_owned(),
            Self::NotFound { .. } => "check the spelling; a private repository needs HF_TOKEN".to_owned(),
            Self::Status { status: 429, .. } => "wait, or set HF_TOKEN for a higher limit".to_owned(),
            Self::Unreachable { .. } => {
                "is there a network? --offline takes what is downloaded already, -m, -me and -ma take files; HF_ENDPOINT \
                 names another hub"
                    .to_owned()
            }
            Self::Cut { .. } | Self::Status { .. } => {
                "run it again: it goes on where it stopped; HF_ENDPOINT names another hub".to_owned()
            }
            Self::Other { .. } => "the repository has changed since that SHA-256 was written down: if you trust what is there \
                now, write the new one into the recipe, or leave `sha256` out"
                .to_owned(),
            Self::Checksum { .. } => "what was downloaded is deleted; run it again".to_owned(),
            Self::Spoilt { .. } => {
                "leave --offline (or HF_HUB_OFFLINE) out once, and it is downloaded again; or delete it".to_owned()
            }
            Self::Space { .. } | Self::Full { .. } => {
                "free some space, or set LLAMA_CACHE to a folder elsewhere; what is there is kept".to_owned()
            }
            Self::Offline { .. } => "leave --offline (or HF_HUB_OFFLINE) out once to download it".to_owned(),
            Self::NotCached { source } => {
                let inner = source.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                format!("leave --offline (or HF_HUB_OFFLINE) out once to download it{inner}")
            }
            _ => return None,
        };
        Some(hint)
    }
}

/// Names in a row, the first ones where there are many.
fn list(names: &[String]) -> String {
    const MAX: usize = 30;
    let more = if names.len() > MAX { format!(" and {} more", names.len() - MAX) } else { String::new() };
    let names: Vec<String> = names.iter().take(MAX).cloned().collect();
    names.join(", ") + &more
}
