//! Well-formed models of every architecture, whose numbers need not fit together.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::seeds;
use crate::strangers::child::{Outcome, Tally, run};
use crate::strangers::models::{Model, Models};

/// Models in a normal run, of which the first ones are as they should be.
const N_MODELS: u64 = 48;
/// What a tiny model may take: llama.cpp's own buffers, mostly.
const MAX_RESIDENT_KB: u64 = 512 << 10;

/// Where files that a command did not survive are kept, to look at.
fn failed() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/hostile/failed");
    std::fs::create_dir_all(&folder).expect("writable");
    folder
}

/// The two commands over a file.
fn commands(path: &Path) -> [(&'static str, Command, fn(&str) -> bool); 2] {
    let program = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
        command.args(args).arg("-m").arg(path).arg("-me").arg(path).args(["-ma", "none", "-t", "1", "-c", "32"]);
        command
    };
    [
        ("check", program(&["check"]), |said| said.contains("refused ") && said.contains("This cannot run")),
        ("generate", program(&["generate", "-p", "ab", "-n", "1"]), |said| said.contains("error: ")),
    ]
}

fn put(seed: u64, model: &Model, folder: &Path, tally: &mut Tally) {
    let architecture = model.numbers.architecture;
    let path = folder.join(format!("{architecture}-{seed}.gguf"));
    model.write(&path).expect("writable");
    let mut first = None;
    for (name, mut command, is_refusal) in commands(&path) {
        let (outcome, said) = run(&mut command, MAX_RESIDENT_KB, is_refusal);
        tally.add(name, architecture, &outcome);
        let first = first.get_or_insert_with(|| outcome.clone());
        if !outcome.is_fine() {
            let kept = failed().join(path.file_name().expect("a name"));
            std::fs::copy(&path, kept).expect("writable");
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            tally
                .complaints
                .push(format!("{architecture} {seed}, {name} {outcome} (check {first}): {}: {last}", model.change));
        }
    }
    std::fs::remove_file(&path).expect("removable");
}

#[test]
fn models_of_every_architecture_end_in_a_message() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let seeds: Vec<u64> = seeds(N_MODELS).collect();
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let part = |thread: u64| {
        let (mut models, mut tally) = (Models::new(), Tally::default());
        for &seed in seeds.iter().filter(|&&seed| seed % n_threads == thread) {
            let model = models.get(seed);
            put(seed, &model, folder.path(), &mut tally);
        }
        tally
    };
    let tally = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|thread| scope.spawn(move || part(thread))).collect();
        threads.into_iter().fold(Tally::default(), |mut all, thread| {
            all.merge(thread.join().expect("no panic"));
            all
        })
    });
    println!("{tally}");
    println!("{} architectures run", tally.kinds("generate", &Outcome::Ran).len());
    assert!(tally.complaints.is_empty(), "{}:\n{}", tally.complaints.len(), tally.complaints.join("\n"));
}
