//! One repository's shelf in the cache, in the layout of `huggingface_hub`:
//! `models--user--repo/{blobs/<sha256>, refs/<revision>, snapshots/<commit>/<path>}`, locks in `.locks/`.
//!
//! Reading follows links, a cache may be spread over disks. Writing does not follow one that leads out of the cache.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::listing::Entry;
use super::progress::{Listener, Stage};
use super::verified::Verified;
use super::{Error, Wanted, names};
use crate::text_file;

const MAX_FILES: usize = 100_000;
const MAX_DEPTH: usize = 16;
/// A commit and what an editor may have put around it.
const MAX_REF_BYTES: u64 = 64;
/// How often another process's lock is tried.
const POLL: Duration = Duration::from_millis(50);

pub(super) struct Shelf<'a> {
    root: &'a Path,
    revision: &'a str,
    /// `models--user--repo`.
    name: String,
    layout: hf_hub::CacheRepo,
    verified: &'a Verified,
}

impl<'a> Shelf<'a> {
    pub fn new(root: &'a Path, wanted: &'a Wanted, verified: &'a Verified) -> Self {
        let repo = hf_hub::Repo::model(wanted.repo.clone());
        let name = repo.folder_name();
        let layout = hf_hub::Cache::new(root.to_path_buf()).repo(repo);
        Self { root, revision: wanted.revision(), name, layout, verified }
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.layout.pointer_path(commit)
    }

    /// Whether the whole file is there, with the bytes that its listing says. Without a SHA-256 its length has to do.
    pub fn has(&self, commit: &str, entry: &Entry, report: &mut Listener) -> Result<bool, Error> {
        self.is_good(&self.snapshot(commit).join(&entry.path), entry, report)
    }

    pub fn is_good(&self, path: &Path, entry: &Entry, report: &mut Listener) -> Result<bool, Error> {
        if !is_whole(path, entry.size) {
            return Ok(false);
        }
        let Ok(sha256) = entry.sha256() else { return Ok(true) };
        match self.verified.differs(path, sha256, report)? {
            None => Ok(true),
            Some(got) => report.tell(Stage::Spoilt { path, got: &got }).map(|()| false),
        }
    }

    /// Refuses a file that is a link to a blob which is not what it is called. Of a file that is no link nobody knows
    /// what it should be.
    pub fn check(&self, path: &Path, report: &mut Listener) -> Result<(), Error> {
        let blob = path.canonicalize().map_err(Error::io(path))?;
        let name = blob.file_name().and_then(|name| name.to_str()).filter(|name| names::is_hex(name, 64));
        let Some(expected) = name else { return Ok(()) };
        match self.differs(path, expected, report)? {
            None => Ok(()),
            Some(got) => Err(Error::Spoilt { path: blob.clone(), expected: expected.to_owned(), got }),
        }
    }

    /// The SHA-256 of a file that is there, if it is another than `expected`.
    pub fn differs(&self, path: &Path, expected: &str, report: &mut Listener) -> Result<Option<String>, Error> {
        self.verified.whole_differs(path, expected, report)
    }

    /// Notes that a blob was verified when it came.
    pub fn note_verified(&self, blob: &Path, sha256: &str) {
        self.verified.note(blob, sha256);
    }

    /// Whether the file in the snapshot is this blob.
    pub fn is_linked(&self, commit: &str, entry: &Entry, blob: &Path) -> bool {
        let (file, blob) = (self.snapshot(commit).join(&entry.path).canonicalize(), blob.canonicalize());
        matches!((file, blob), (Ok(file), Ok(blob)) if file == blob)
    }

    /// The commit that the revision was when it was last asked for.
    pub fn commit(&self) -> Option<String> {
        if names::is_hex(self.revision, 40) {
            return Some(self.revision.to_owned());
        }
        let path = self.root.join(&self.name).join("refs").join(self.revision);
        let text = text_file::read(&path, MAX_REF_BYTES).ok()?;
        let commit = text.trim();
        names::is_hex(commit, 40).then(|| commit.to_owned())
    }

    /// The GGUF files of a snapshot that are there, in the order of their paths.
    pub fn files(&self, commit: &str) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        walk(&self.snapshot(commit), "", MAX_DEPTH, &mut found)?;
        found.sort();
        Ok(found)
    }

    /// A folder of the cache, made where it is missing; one that a link takes elsewhere is refused.
    fn folder(&self, inside: &Path) -> Result<PathBuf, Error> {
        fs::create_dir_all(self.root).map_err(Error::io(self.root))?;
        let root = self.root.canonicalize().map_err(Error::io(self.root))?;
        let mut folder = root.clone();
        for part in inside {
            folder.push(part);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(Error::io(&folder)(error)),
                _ => {}
            }
            let real = folder.canonicalize().map_err(Error::io(&folder))?;
            if !real.starts_with(&root) {
                return Err(Error::Place { path: folder, why: "it is a link out of the cache" });
            }
        }
        Ok(folder)
    }

    fn own(&self, kind: &str) -> Result<PathBuf, Error> {
        self.folder(&Path::new(&self.name).join(kind))
    }

    pub fn blob(&self, sha256: &str) -> Result<PathBuf, Error> {
        Ok(self.own("blobs")?.join(sha256))
    }

    /// Refuses to begin what would not fit. Where free space cannot be told, the disk says so later.
    pub fn check_space<'e>(&self, missing: impl Iterator<Item = &'e Entry>) -> Result<(), Error> {
        let mut needed = 0_u64;
        for entry in missing {
            let blob = self.blob(entry.sha256()?)?;
            let n_there = |path: &Path| fs::symlink_metadata(path).map_or(0, |data| data.len().min(entry.size));
            if !is_whole(&blob, entry.size) {
                needed = needed.saturating_add(entry.size - n_there(&partial(&blob)));
            }
        }
        if needed == 0 {
            return Ok(());
        }
        let folder = self.own("blobs")?;
        match fs4::available_space(&folder) {
            Ok(free) if free < needed => Err(Error::Space { folder, needed, free }),
            _ => Ok(()),
        }
    }

    /// The right to write a blob; waits while another process has it, as `huggingface_hub` does on the same file.
    pub fn lock(&self, sha256: &str, report: &mut Listener) -> Result<File, Error> {
        let path = self.folder(&Path::new(".locks").join(&self.name))?.join(format!("{sha256}.lock"));
        let file = open_own(&path)?;
        while !fs4::fs_std::FileExt::try_lock_exclusive(&file).map_err(Error::io(&path))? {
            report.tell(Stage::Queued)?;
            std::thread::sleep(POLL);
        }
        Ok(file)
    }

    /// Puts a blob into a snapshot: as a relative link, else as a hard link, else by moving it there.
    pub fn link(&self, commit: &str, entry: &Entry, blob: &Path) -> Result<(), Error> {
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let inside = Path::new(&self.name).join("snapshots").join(commit).join(folder);
        let path = self.folder(&inside)?.join(name);
        if fs::symlink_metadata(&path).is_ok() {
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
        // From the file's folder up to the repository's.
        let n_up = entry.path.split('/').count() + 1;
        let up: PathBuf = std::iter::repeat_n("..", n_up).collect();
        let target = up.join("blobs").join(blob.file_name().unwrap_or_default());
        symlink(&target, &path)
            .or_else(|_| fs::hard_link(blob, &path))
            .or_else(|_| fs::rename(blob, &path))
            .map_err(Error::io(&path))
    }

    /// Notes which commit the revision is, so that it is found offline.
    pub fn set_commit(&self, commit: &str) -> Result<(), Error> {
        static N_WRITTEN: AtomicU64 = AtomicU64::new(0);
        if names::is_hex(self.revision, 40) || self.commit().as_deref() == Some(commit) {
            return Ok(());
        }
        let (folder, name) = self.revision.rsplit_once('/').unwrap_or(("", self.revision));
        let path = self.folder(&Path::new(&self.name).join("refs").join(folder))?.join(name);
        let number = N_WRITTEN.fetch_add(1, Ordering::Relaxed);
        let new = path.with_file_name(format!(".{}-{number}.tmp", std::process::id()));
        // One of this name is left over from a process that is gone.
        let _ = fs::remove_file(&new);
        let written = File::create_new(&new).and_then(|mut file| file.write_all(commit.as_bytes()));
        written.and_then(|()| fs::rename(&new, &path)).map_err(Error::io(&path))
    }
}

/// Where a blob's bytes gather.
pub(super) fn partial(blob: &Path) -> PathBuf {
    blob.with_extension("incomplete")
}

pub(super) fn is_whole(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() == size)
}

/// Opens a file to read and write, made where it is missing, and never through a link.
pub(super) fn open_own(path: &Path) -> Result<File, Error> {
    if fs::symlink_metadata(path).is_ok_and(|data| !data.is_file()) {
        return Err(Error::Place { path: path.to_path_buf(), why: "it is a link or no file" });
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(Error::io(path))
}

fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<String>) -> Result<(), Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::io(folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(Error::io(folder))?;
        // What is not UTF-8 is not from a hub.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth > 0 {
                walk(&entry.path(), &format!("{path}/"), depth - 1, found)?;
            }
        } else if names::is_gguf(&path) && entry.path().is_file() && found.len() < MAX_FILES {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(windows)]
fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, path)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
