//! What is told while a file comes in.

use std::path::Path;
use std::time::Duration;

use super::Error;

/// How far it is.
#[derive(Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The file's path in the repository; the repository's name while its listing is read.
    pub file: &'a str,
    /// Bytes of this file that are there, those of an earlier try included.
    pub n_done: u64,
    /// The file's size in bytes; 0 while the listing is read.
    pub n_all: u64,
    /// Which file of a split model, from 1; 0 while the listing is read.
    pub part: usize,
    pub n_parts: usize,
    pub step: Stage<'a>,
}

/// What is being done.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Stage<'a> {
    Listing,
    /// Another process downloads the same file; its result is waited for.
    Queued,
    /// Bytes of an earlier try are hashed; `n_done` counts those.
    Rehashing,
    Transferring,
    /// A file of the cache is hashed, once; `n_done` counts its bytes.
    Verifying,
    /// The file at `path` has the SHA-256 `got`, and that is not the one of what it is called; it is replaced.
    Spoilt {
        path: &'a Path,
        got: &'a str,
    },
    /// The hub failed with `error`; the next try is `wait` away.
    Retrying {
        error: &'a Error,
        wait: Duration,
    },
}

/// The caller's function and what it is told next.
pub(super) struct Listener<'a> {
    progress: &'a mut dyn FnMut(&Progress) -> bool,
    file: String,
    pub n_done: u64,
    n_all: u64,
    part: usize,
    n_parts: usize,
}

impl<'a> Listener<'a> {
    pub fn new(progress: &'a mut dyn FnMut(&Progress) -> bool, repo: &str) -> Self {
        Self { progress, file: repo.to_owned(), n_done: 0, n_all: 0, part: 0, n_parts: 0 }
    }

    /// From here on it is about this file of `size` bytes.
    pub fn start(&mut self, file: &str, size: u64, part: usize, n_parts: usize) {
        file.clone_into(&mut self.file);
        (self.n_done, self.n_all, self.part, self.n_parts) = (0, size, part, n_parts);
    }

    pub fn tell(&mut self, step: Stage) -> Result<(), Error> {
        let Self { progress, file, n_done, n_all, part, n_parts } = self;
        let now = Progress { file, n_done: *n_done, n_all: *n_all, part: *part, n_parts: *n_parts, step };
        if progress(&now) { Ok(()) } else { Err(Error::Cancelled) }
    }
}
