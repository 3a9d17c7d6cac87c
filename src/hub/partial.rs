//! A file that is not whole yet: `blobs/<sha256>.incomplete`.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::PathBuf;

use ring::digest::Context;

use super::cache::open_own;
use super::listing::Entry;
use super::progress::{Listener, Stage};
use super::{Error, hash};

/// The file and the hash of what is in it.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    hash: Context,
    n_done: u64,
}

impl Partial {
    /// Goes on with what an earlier try left, which is hashed again.
    pub fn open(path: PathBuf, entry: &Entry, report: &mut Listener) -> Result<Self, Error> {
        let mut file = open_own(&path)?;
        let n_there = file.metadata().map_err(Error::io(&path))?.len();
        if n_there > entry.size {
            let mut partial = Self { path, file, hash: hash::start(), n_done: 0 };
            partial.restart()?;
            return Ok(partial);
        }
        let (hash, n_done) = match n_there {
            0 => (hash::start(), 0),
            _ => hash::read(&mut file, &path, Stage::Rehashing, report)?,
        };
        report.n_done = n_done;
        Ok(Self { path, file, hash, n_done })
    }

    pub fn n_done(&self) -> u64 {
        self.n_done
    }

    /// Empties it.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(Error::io(&self.path))?;
        self.hash = hash::start();
        self.n_done = 0;
        Ok(())
    }

    /// Writes on; `left` is what is missing, for the message on a full disk.
    pub fn append(&mut self, bytes: &[u8], left: u64) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::Full { path: self.path.clone(), needed: left }
            }
            _ => Error::Io { path: self.path.clone(), source },
        })?;
        self.hash.update(bytes);
        self.n_done += bytes.len() as u64;
        Ok(())
    }

    /// The path of the file, which is on the disk and what its listing says; one that is not is deleted.
    pub fn verify(self, entry: &Entry) -> Result<PathBuf, Error> {
        let expected = entry.sha256()?;
        let got = hash::finish(self.hash);
        if got != expected {
            drop(self.file);
            fs::remove_file(&self.path).map_err(Error::io(&self.path))?;
            return Err(Error::Checksum { file: entry.path.clone(), expected: expected.to_owned(), got });
        }
        self.file.sync_all().map_err(Error::io(&self.path))?;
        Ok(self.path)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_it_needs() {
        let path = PathBuf::from("/dev/full");
        let file = File::options().write(true).open(&path).expect("a device of Linux");
        let mut partial = Partial { path, file, hash: hash::start(), n_done: 7 };
        let error = partial.append(&[0; 100], 1234).expect_err("no space left on device");
        assert!(matches!(error, Error::Full { needed: 1234, .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("LLAMA_CACHE")));
        assert_eq!(partial.n_done(), 7);
    }
}
