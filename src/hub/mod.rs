//! GGUF files of a Hugging Face-like hub, in the cache that the ecosystem's tools share.
//!
//! In comes what is [`Wanted`], `user/repo[:quant]` or a named file; out goes the path of a whole, verified file. On
//! the way: the hub's `listing`, the `choice` of a file, the `transfer` into the `cache`. A hub's answers are input
//! like any other: names, sizes, hashes, redirects and links are checked before they are used, and nothing is written
//! outside the cache folder; what others wrote into it is hashed once (`verified`). What a file says of itself is for
//! `gguf`.
//!
//! The names of the cache's folders and its token file are those of the `hf-hub` crate, 0.5 without features. The
//! transfer is our own, since hf-hub does not compare hashes and makes a path of any `ETag` that it is sent. With its
//! `ureq` feature 0.5 appends whatever answers a resumed request, also a whole file; 1.0 does not resume over plain
//! HTTP, and always brings reqwest, tokio and hf-xet, some 280 crates.

mod cache;
mod choice;
mod client;
mod environment;
mod error;
mod hash;
mod listing;
mod names;
mod partial;
mod patience;
mod progress;
mod transfer;
mod url;
mod verified;
mod wanted;

use std::path::{Path, PathBuf};

pub use error::Error;
pub use patience::Patience;
pub use progress::{Progress, Stage};
pub use wanted::Wanted;

use cache::Shelf;
use client::Client;
use environment::Settings;
use listing::Entry;
use progress::Listener;
use transfer::Transfer;
use url::Url;
use verified::Verified;

/// A hub and the cache in front of it.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    cache: PathBuf,
    verified: Verified,
    offline: bool,
}

/// Where the wanted file is.
#[derive(Debug)]
#[non_exhaustive]
pub struct Found {
    /// The file in its snapshot, the first one where it is split; the others lie beside it.
    pub path: PathBuf,
    /// Why the hub could not be asked, if it could not: the file is then the cache's last one of this revision.
    pub unasked: Option<Error>,
}

impl Hub {
    /// The hub and cache that the environment names. Cache: `LLAMA_CACHE`, `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`,
    /// `HF_HOME`/hub, `XDG_CACHE_HOME`/huggingface/hub, ~/.cache/huggingface/hub. Hub: `MODEL_ENDPOINT`, `HF_ENDPOINT`,
    /// huggingface.co. Token: `HF_TOKEN`, else the file `HF_TOKEN_PATH`, else `token` in `HF_HOME` unless
    /// `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set. `HF_HUB_OFFLINE`. What was hashed is noted in
    /// `verified` of `PROXYTUNE_CACHE`, `XDG_CACHE_HOME`/proxytune or ~/.cache/proxytune.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_settings(environment::read(&|name| std::env::var_os(name))?)
    }

    fn from_settings(settings: Settings) -> Result<Self, Error> {
        let Settings { endpoint, token, cache, notes, offline } = settings;
        Ok(Self { verified: Verified::in_folder(notes), ..Self::new(&endpoint, token, &cache, offline)? })
    }

    pub fn new(endpoint: &str, token: Option<String>, cache: &Path, offline: bool) -> Result<Self, Error> {
        let client = Client::new(Url::endpoint(endpoint)?, token, Patience::default())?;
        let cache = std::path::absolute(cache).map_err(Error::io(cache))?;
        Ok(Self { client, cache, verified: Verified::default(), offline })
    }

    /// `offline`: the hub is not asked, only the cache is looked at.
    #[must_use]
    pub fn with_offline(self, offline: bool) -> Self {
        Self { offline, ..self }
    }

    /// Notes in this folder which files of the cache were hashed already; without one they are hashed at every call.
    #[must_use]
    pub fn with_notes(self, folder: &Path) -> Self {
        Self { verified: Verified::in_folder(Some(folder.to_path_buf())), ..self }
    }

    /// With this access token.
    pub fn with_token(self, token: &str) -> Result<Self, Error> {
        Ok(Self { client: self.client.with_token(token)?, ..self })
    }

    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { client: self.client.with_patience(patience), ..self }
    }

    /// The wanted file, downloaded unless the cache has it. All files of a split model are.
    ///
    /// `progress` is called for each block of bytes and while waiting; where it answers `false` the call ends with
    /// [`Error::Cancelled`], and what is there stays for the next one to go on from. A hub that does not send anything
    /// is noticed after [`Patience::stall`].
    pub fn fetch(&self, wanted: &Wanted, progress: &mut dyn FnMut(&Progress) -> bool) -> Result<Found, Error> {
        wanted.validate()?;
        let shelf = Shelf::new(&self.cache, wanted, &self.verified);
        let mut report = Listener::new(progress, &wanted.repo);
        if self.offline {
            let path = cached(&shelf, wanted, &mut report)?;
            return path
                .map(|path| Found { path, unasked: None })
                .ok_or_else(|| Error::Offline { wanted: wanted.to_string(), cache: self.cache.clone() });
        }
        match listing::read(&self.client, wanted, &mut report) {
            Ok((commit, entries)) => {
                self.online(&shelf, wanted, &commit, &entries, &mut report).map(|path| Found { path, unasked: None })
            }
            Err(error) if error.is_unreachable() => match cached(&shelf, wanted, &mut report) {
                Ok(Some(path)) => Ok(Found { path, unasked: Some(error) }),
                Err(other @ (Error::Spoilt { .. } | Error::Other { .. } | Error::Cancelled)) => Err(other),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn online(
        &self,
        shelf: &Shelf,
        wanted: &Wanted,
        commit: &str,
        entries: &[Entry],
        report: &mut Listener,
    ) -> Result<PathBuf, Error> {
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        let parts = choice::choose(wanted, &paths)?;
        let parts: Vec<&Entry> = parts.into_iter().map(|part| &entries[part]).collect();
        // Before gigabytes come that nobody wants.
        if let Some(expected) = &wanted.sha256 {
            let got = parts[0].sha256()?;
            if got != expected {
                return Err(wanted.other(&parts[0].path, expected, got));
            }
        }
        let mut missing = Vec::new();
        for (number, &entry) in parts.iter().enumerate() {
            report.start(&entry.path, entry.size, number + 1, parts.len());
            if !shelf.has(commit, entry, report)? {
                missing.push((number, entry));
            }
        }
        shelf.check_space(missing.iter().map(|(_, entry)| *entry))?;
        for (number, entry) in missing {
            report.start(&entry.path, entry.size, number + 1, parts.len());
            Transfer { client: &self.client, shelf, wanted, commit, entry }.run(report)?;
        }
        shelf.set_commit(commit)?;
        Ok(shelf.snapshot(commit).join(&parts[0].path))
    }
}

/// The wanted file as the cache has it; none where the cache does not know the repository at this revision.
fn cached(shelf: &Shelf, wanted: &Wanted, report: &mut Listener) -> Result<Option<PathBuf>, Error> {
    let Some(commit) = shelf.commit() else { return Ok(None) };
    let files = shelf.files(&commit)?;
    if files.is_empty() {
        return Ok(None);
    }
    let paths: Vec<&str> = files.iter().map(String::as_str).collect();
    let parts = choice::choose(wanted, &paths).map_err(|source| Error::NotCached { source: Box::new(source) })?;
    let path = |part: usize| shelf.snapshot(&commit).join(&files[part]);
    parts.iter().try_for_each(|&part| shelf.check(&path(part), report))?;
    if let Some(expected) = &wanted.sha256
        && let Some(got) = shelf.differs(&path(parts[0]), expected, report)?
    {
        return Err(wanted.other(&files[parts[0]], expected, &got));
    }
    Ok(Some(path(parts[0])))
}

/// The SHA-256 of any file if it is another than `expected`, 64 hexadecimal digits in lower case. A file is read once,
/// and again when it has changed; what was found is noted where [`Hub::from_env`] notes it.
pub fn differs(
    path: &Path,
    expected: &str,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Option<String>, Error> {
    let verified = Verified::in_folder(environment::notes(&|name| std::env::var_os(name)));
    verified.whole_differs(path, expected, &mut Listener::new(progress, ""))
}
