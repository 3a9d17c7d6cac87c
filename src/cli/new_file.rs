//! Files that a command writes: whole or not at all, and over another file only where that is asked for.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Error, Result, anyhow};
use tempfile::NamedTempFile;

use super::report::{Hinted, hinted};

/// Refuses a file that is there, unless it is to be replaced, and one in a folder that is not there.
pub fn check(path: &Path, overwrite: bool) -> Result<()> {
    if path.is_dir() {
        return Err(anyhow!("{} is a folder, expected the name of a file", path.display()))
            .hint("add a name behind it");
    }
    if path.exists() && !overwrite {
        return Err(anyhow!("{} is there already", path.display()))
            .hint("take another name, or replace it with --overwrite");
    }
    let folder = folder(path);
    if !folder.is_dir() {
        return Err(anyhow!("{} is to stand in {}, which is no folder", path.display(), folder.display()))
            .hint("make the folder, or name another one");
    }
    Ok(())
}

/// A file that takes its name once it is complete.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    overwrite: bool,
    part: NamedTempFile,
}

impl NewFile {
    /// An empty file beside `path`, which is refused where it is there and not to be replaced.
    pub fn create(path: &Path, overwrite: bool) -> Result<Self> {
        check(path, overwrite)?;
        let mut builder = tempfile::Builder::new();
        // What others may read of a new file is for the umask to say.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let part = builder.tempfile_in(folder(path)).map_err(|error| {
            // By its kind: the rest names a file that is there for a moment.
            cannot(path, &error.kind().into())
        })?;
        Ok(Self { path: path.to_path_buf(), overwrite, part })
    }

    pub fn folder(&self) -> &Path {
        folder(&self.path)
    }

    /// What is written into it.
    pub fn file(&self) -> &File {
        self.part.as_file()
    }

    /// Gives it its name.
    pub fn keep(self) -> Result<()> {
        let Self { path, overwrite, part } = self;
        let kept = if overwrite { part.persist(&path) } else { part.persist_noclobber(&path) };
        kept.map(drop).map_err(|error| cannot(&path, &error.error))
    }

    /// An error of writing it, with its name.
    pub fn failed(&self, error: &io::Error) -> Error {
        cannot(&self.path, error)
    }
}

fn cannot(path: &Path, error: &io::Error) -> Error {
    let hint = "check that the folder is there, that you may write into it, and that the disk has room";
    hinted(anyhow!("cannot write {}: {error}", path.display()), hint)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
