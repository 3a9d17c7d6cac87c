//! Whether files of the cache are what they are called. Other tools write there too, and disks rot: the bytes of a file
//! are hashed once, and again when it has changed.
//!
//! What was found is noted in a folder of our own, since the cache's layout belongs to all its tools: a file for each of
//! theirs, named by the hash of its path, with the SHA-256 and what a file system says of a file that nobody touched.

use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};

use super::progress::{Listener, Stage};
use super::{Error, hash};

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
        let path = path.canonicalize().map_err(Error::io(path))?;
        let mut file = File::open(&path).map_err(Error::io(&path))?;
        let before = file.metadata().map_err(Error::io(&path))?;
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

    /// Notes that a file was found to be what it is called.
    pub fn note(&self, path: &Path, sha256: &str) {
        if let Ok(path) = path.canonicalize()
            && let Ok(about) = fs::metadata(&path)
        {
            self.remember(&path, &note(sha256, &about));
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

/// Who writes into a file, or puts another in its place, changes one of these.
#[cfg(unix)]
fn note(sha256: &str, about: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    let (modified, changed) = ((about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec()));
    format!(
        "{sha256} {} {}.{:09} {}.{:09} {}\n",
        about.size(),
        modified.0,
        modified.1,
        changed.0,
        changed.1,
        about.ino()
    )
}

#[cfg(not(unix))]
fn note(sha256: &str, about: &Metadata) -> String {
    format!("{sha256} {} {:?} {:?}\n", about.len(), about.modified().ok(), about.created().ok())
}
