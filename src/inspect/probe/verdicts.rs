//! What survived before and need not be asked again: a line for each request, with the identities of the files and of
//! the program that answered.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use super::Request;
use crate::gguf::split;
use crate::remembered::Identity;

const FILE: &str = "survived.jsonl";
/// Some hundreds of lines; the older half goes when there are more.
const MAX_BYTES: u64 = 256 << 10;

/// What decides which devices llama.cpp sees and how it uses them.
const VARIABLES: [&str; 5] = ["CUDA_", "GGML_", "HIP_", "ROCR_", "VK_"];

/// The line for a request that `program` answers when it is started with `args`. `None` where a file cannot be looked at:
/// it is asked about then.
pub(super) fn line(program: &Path, args: &[OsString], request: &Request) -> Option<String> {
    let program = (Identity::of(program).ok()?, args);
    let is_ours = |name: &OsString| VARIABLES.iter().any(|start| name.to_string_lossy().starts_with(start));
    let mut variables: Vec<_> = std::env::vars_os().filter(|(name, _)| is_ours(name)).collect();
    variables.sort();
    let files = split::files(&request.source.path);
    let files = files.iter().map(|path| Identity::of(path)).collect::<io::Result<Vec<_>>>().ok()?;
    serde_json::to_string(&(program, variables, files, request)).ok()
}

/// Whether a line was kept.
pub(super) fn has(folder: &Path, line: &str) -> bool {
    read(folder).is_ok_and(|text| text.lines().any(|known| known == line))
}

/// Keeps a line. Where that fails, the next run asks again.
pub(super) fn keep(folder: &Path, line: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(FILE);
    if path.metadata().is_ok_and(|metadata| metadata.len() > MAX_BYTES) {
        let text = read(folder)?;
        let lines: Vec<&str> = text.lines().collect();
        let newer = folder.join(format!("{FILE}.{}", std::process::id()));
        fs::write(&newer, lines[lines.len() / 2..].join("\n") + "\n")?;
        fs::rename(&newer, &path)?;
    }
    // In one call, so that lines of several processes do not mix.
    OpenOptions::new().create(true).append(true).open(path)?.write_all(format!("{line}\n").as_bytes())
}

fn read(folder: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(folder.join(FILE))?.take(2 * MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_and_the_oldest_go() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path().join("new");
        let line = |n: usize| format!("{n} {}", "x".repeat(1000));
        assert!(!has(&folder, &line(0)));
        for n in 0..300 {
            keep(&folder, &line(n)).expect("writable");
            assert!(has(&folder, &line(n)), "{n}");
        }
        assert!(!has(&folder, &line(0)) && has(&folder, &line(200)) && !has(&folder, "200"));
        assert!(folder.join(FILE).metadata().expect("there").len() <= MAX_BYTES + 2000);
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 1);
    }
}
