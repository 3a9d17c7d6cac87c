//! A file through the program, and what came of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::strangers::child::{Tally, run};

/// What a tiny model may take: llama.cpp's own buffers, mostly.
pub const MAX_RESIDENT_KB: u64 = 512 << 10;

/// A file to try.
pub struct Trial<'a> {
    pub path: &'a Path,
    /// The tally's heading.
    pub kind: &'a str,
    /// How to make it again.
    pub seed: u64,
    pub change: &'a str,
    /// Further arguments to both commands.
    pub args: &'a [&'a str],
    pub max_kb: u64,
}

impl Trial<'_> {
    /// Runs `check`, then `generate`. A file that one of them does not survive is kept, to look at.
    pub fn run(&self, tally: &mut Tally) {
        let Self { path, kind, seed, change, args, max_kb } = *self;
        let mut first = None;
        for (name, own, is_refusal) in [
            (
                "check",
                &[][..],
                (|said| said.contains("refused ") && said.contains("This cannot run")) as fn(&str) -> bool,
            ),
            ("generate", &["-p", "ab", "-n", "1"], |said| said.contains("error: ")),
        ] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
            command.arg(name).args(own).args(args).args(["-t", "1", "-c", "32"]);
            let (outcome, said) = run(&mut command, max_kb, is_refusal);
            tally.add(name, kind, &outcome);
            let first = first.get_or_insert_with(|| outcome.clone());
            if !outcome.is_fine() {
                std::fs::copy(path, failed().join(path.file_name().expect("a name"))).expect("writable");
                let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
                tally.complaints.push(format!("{kind} {seed}: {name} {outcome} (check {first}): {change}: {last}"));
            }
        }
    }
}

/// Where files are kept.
fn failed() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/hostile/failed");
    std::fs::create_dir_all(&folder).expect("writable");
    folder
}
