//! Whether files of the cache are what they are called. Other tools write there too, and disks rot: the bytes of a file
//! are hashed once, and again when it has changed.
//!
//! What was found is noted in a folder of our own, since the cache's layout belongs to all its tools: a file for each of
//! theirs, named by the hash of its path, with the SHA-256 and what a file system says of a file that nobody touched.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::progress::{Listener, Stage};
use super::{Error, hash};
use crate::remembered::Identity;

#[derive(Debug, Clone, Default)]
pub(super) struct Verified {
    /// Without it nothing is remembered.
    folder: Option<PathBuf>,
}

impl Verified {
    pub fn in_folder(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The SHA-256 of a file if it is another than `expected`. Reads the file unless that was done before.
    pub fn differs(&self, path: &Path, expected: &str, report: &mut Listener) -> Result<Option<String>, Error> {
        let before = Identity::of(path).map_err(Error::io(path))?;
        let path = before.path.clone();
        let mut file = File::open(&path).map_err(Error::io(&path))?;
        let note = note(expected, &before);
        if self.record(&path).is_some_and(|record| fs::read_to_string(record).is_ok_and(|noted| noted == note)) {
            return Ok(None);
        }
        let (hash, _) = hash::read(&mut file, &path, Stage::Verifying, report)?;
        let got = hash::finish(hash);
        if got != expected {
            return Ok(Some(got));
        }
        self.remember(&path, &note);
        Ok(None)
    }

    /// The same, told from the file's first byte on.
    pub fn whole_differs(&self, path: &Path, expected: &str, report: &mut Listener) -> Result<Option<String>, Error> {
        let size = fs::metadata(path).map_err(Error::io(path))?.len();
        report.start(&path.file_name().unwrap_or_default().to_string_lossy(), size, 1, 1);
        self.differs(path, expected, report)
    }

    /// Notes that a file was found to be what it is called.
    pub fn note(&self, path: &Path, sha256: &str) {
        if let Ok(identity) = Identity::of(path) {
            self.remember(&identity.path, &note(sha256, &identity));
        }
    }

    /// What cannot be noted is hashed again the next time.
    fn remember(&self, path: &Path, note: &str) {
        let Some(record) = self.record(path) else { return };
        let _ = record.parent().map(fs::create_dir_all);
        let _ = fs::write(record, note);
    }

    fn record(&self, path: &Path) -> Option<PathBuf> {
        let mut hash = hash::start();
        hash.update(path.as_os_str().as_encoded_bytes());
        Some(self.folder.as_ref()?.join(hash::finish(hash)))
    }
}

fn note(sha256: &str, identity: &Identity) -> String {
    serde_json::to_string(&(sha256, identity)).unwrap_or_default()
}
