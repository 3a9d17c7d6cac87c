//! What proxytune remembers of files from one run to the next: in which folder, and how a file is told from what it was.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Serialize;

/// Where it is kept: `PROXYTUNE_CACHE`, or `proxytune` in the folder of caches. `var` is `std::env::var_os`, or a test's own.
pub fn folder(var: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || named(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).or_else(std::env::home_dir);
    let caches = || named("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")));
    named("PROXYTUNE_CACHE").or_else(|| Some(caches()?.join("proxytune")))
}

/// Whoever writes into a file, or puts another in its place, changes its identity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Identity {
    /// With links followed.
    pub path: PathBuf,
    n_bytes: u64,
    modified: Option<std::time::SystemTime>,
    /// Device, inode and the time of the last change, which nobody can set back; nothing where a system has none.
    place: [i64; 4],
}

impl Identity {
    pub fn of(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let about = path.metadata()?;
        let place = place(&about);
        Ok(Self { path, n_bytes: about.len(), modified: about.modified().ok(), place })
    }
}

#[cfg(unix)]
fn place(about: &fs::Metadata) -> [i64; 4] {
    use std::os::unix::fs::MetadataExt;
    [about.dev() as i64, about.ino() as i64, about.ctime(), about.ctime_nsec()]
}

#[cfg(not(unix))]
fn place(_: &fs::Metadata) -> [i64; 4] {
    [0; 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_is_another_identity() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        fs::write(&path, "one").expect("writable");
        let before = Identity::of(&path).expect("there");
        assert_eq!(before, Identity::of(&path).expect("there"));
        fs::write(folder.path().join("b"), "two").expect("writable");
        fs::rename(folder.path().join("b"), &path).expect("writable");
        assert_ne!(before, Identity::of(&path).expect("there"));
        assert!(Identity::of(&folder.path().join("b")).is_err());
    }

    #[test]
    fn the_folder_is_where_the_first_of_them_says() {
        let all = [("PROXYTUNE_CACHE", "/own", "/own"), ("XDG_CACHE_HOME", "/xdg", "/xdg/proxytune")];
        for first in 0..all.len() {
            let var =
                |name: &str| all[first..].iter().find(|(known, ..)| *known == name).map(|(_, value, _)| value.into());
            assert_eq!(folder(&var).as_deref(), Some(Path::new(all[first].2)));
        }
    }
}
