//! A file that is not whole yet: `blobs/<sha256>.incomplete`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use ring::digest::{Context, SHA256};

use super::Error;
use super::cache::open_own;
use super::listing::Entry;
use super::progress::{Listener, Stage};

const BLOCK: usize = 1 << 20;

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
        let file = open_own(&path)?;
        let n_there = file.metadata().map_err(Error::io(&path))?.len();
        let mut partial = Self { path, file, hash: Context::new(&SHA256), n_done: 0 };
        if n_there > entry.size {
            partial.restart()?;
            return Ok(partial);
        }
        let mut block = vec![0; BLOCK];
        while partial.n_done < n_there {
            report.tell(Stage::Rehashing)?;
            let n = partial.file.read(&mut block).map_err(Error::io(&partial.path))?;
            if n == 0 {
                break;
            }
            partial.hash.update(&block[..n]);
            partial.n_done += n as u64;
            report.n_done = partial.n_done;
        }
        Ok(partial)
    }

    pub fn n_done(&self) -> u64 {
        self.n_done
    }

    /// Empties it.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(Error::io(&self.path))?;
        self.hash = Context::new(&SHA256);
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
        let got = hex(self.hash.finish().as_ref());
        if got != expected {
            drop(self.file);
            fs::remove_file(&self.path).map_err(Error::io(&self.path))?;
            return Err(Error::Checksum { file: entry.path.clone(), expected: expected.to_owned(), got });
        }
        self.file.sync_all().map_err(Error::io(&self.path))?;
        Ok(self.path)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_it_needs() {
        let path = PathBuf::from("/dev/full");
        let file = File::options().write(true).open(&path).expect("a device of Linux");
        let mut partial = Partial { path, file, hash: Context::new(&SHA256), n_done: 7 };
        let error = partial.append(&[0; 100], 1234).expect_err("no space left on device");
        assert!(matches!(error, Error::Full { needed: 1234, .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("LLAMA_CACHE")));
        assert_eq!(partial.n_done(), 7);
    }
}
