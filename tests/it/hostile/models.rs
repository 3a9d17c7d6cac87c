//! Well-formed models of every architecture whose numbers need not fit together, headers of whole models with changes,
//! and adapters.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::seeds;
use super::trial::{MAX_RESIDENT_KB, Trial};
use crate::gguf::Value;
use crate::strangers::adapters;
use crate::strangers::child::{Outcome, Tally, run};
use crate::strangers::headers::Whole;
use crate::strangers::models::Models;

/// Models in a normal run, where the first two hundred are as they should be, and headers and adapters.
const FIRST_CHANGED: u64 = 206;
const N_FILES: u64 = 24;
/// Architectures whose tiny model has to run: the others are only hostile.
const N_ARCHITECTURES: usize = 100;

/// Tries files on every core; `state` is what each thread makes first.
fn on_all_cores<S>(
    seeds: impl Iterator<Item = u64>,
    state: impl Fn() -> S + Sync,
    put: impl Fn(&mut S, u64, &Path, &mut Tally) + Sync,
) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let seeds: Vec<u64> = seeds.collect();
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = |thread: usize| {
        let (mut state, mut tally) = (state(), Tally::default());
        for &seed in seeds.iter().skip(thread).step_by(n_threads) {
            put(&mut state, seed, folder.path(), &mut tally);
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
    assert!(tally.complaints.is_empty(), "{}:\n{}", tally.complaints.len(), tally.complaints.join("\n"));
}

/// `seeds`, from the first that is changed on where it is a normal run.
fn changed() -> impl Iterator<Item = u64> {
    let is_normal = std::env::var_os("PROXYTUNE_HOSTILE").is_none();
    seeds(N_FILES).map(move |seed| if is_normal { seed * 37 + FIRST_CHANGED } else { seed })
}

#[test]
fn models_of_every_architecture_end_in_a_message() {
    on_all_cores(changed(), Models::new, |models, seed, folder, tally| {
        let model = models.get(seed);
        let architecture = model.numbers.architecture;
        let path = folder.join(format!("{architecture}-{seed}.gguf"));
        model.write(&path).expect("writable");
        let name = path.to_str().expect("UTF-8");
        let args = ["-m", name, "-me", name, "-ma", "none"];
        let (kind, change) = (architecture, model.change.as_str());
        Trial { path: &path, kind, seed, change, args: &args, max_kb: MAX_RESIDENT_KB }.run(tally);
        std::fs::remove_file(&path).expect("removable");
    });
}

/// What the corpus rests on: the tiny models are models, of many architectures, and no layer of theirs has more tensors
/// than the reader of headers accepts.
#[test]
fn tiny_models_run() {
    let Models { plain, .. } = Models::new();
    for model in &plain {
        let Some(&Value::U32(n_layer)) = model.numbers.values.get("block_count") else { panic!("{model:?}") };
        let n_tensors = model.tensors.len();
        assert!(n_tensors <= 54 * (n_layer as usize + 1), "{}: {n_tensors}", model.numbers.architecture);
    }
    let mut seen = BTreeSet::new();
    let firsts: Vec<_> = (0..plain.len()).filter(|&i| seen.insert(plain[i].numbers.architecture)).collect();
    let mut running = BTreeSet::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    for i in firsts {
        let architecture = plain[i].numbers.architecture;
        let path = folder.path().join(format!("{architecture}.gguf"));
        plain[i].write(&path).expect("writable");
        let name = path.to_str().expect("UTF-8");
        let mut generate = Command::new(env!("CARGO_BIN_EXE_proxytune"));
        generate
            .args(["generate", "-m", name, "-me", name, "-ma", "none", "-p", "ab", "-n", "1", "-t", "1", "-c", "32"]);
        if run(&mut generate, MAX_RESIDENT_KB, |said| said.contains("error: ")).0 == Outcome::Ran {
            running.insert(architecture);
        }
        std::fs::remove_file(&path).expect("removable");
    }
    assert!(running.len() >= N_ARCHITECTURES, "{}: {running:?}", running.len());
}

#[test]
fn changed_headers_of_whole_models_end_in_a_message() {
    let wholes = Whole::all();
    assert!(wholes.len() >= 3, "the bundled models are there");
    on_all_cores(
        changed().step_by(4),
        || (),
        |(), seed, folder, tally| {
            let whole = &wholes[seed as usize / 4 % wholes.len()];
            let path = folder.join(format!("{}-{seed}.gguf", whole.name));
            whole.write(seed, &path).expect("writable");
            let name = path.to_str().expect("UTF-8");
            let args = ["-m", name, "-me", name, "-ma", "none"];
            // Weights are mapped, and repacked for this CPU where it is faster.
            let max_kb = MAX_RESIDENT_KB + 3 * (whole.size >> 10);
            Trial { path: &path, kind: &whole.name, seed, change: "", args: &args, max_kb }.run(tally);
            std::fs::remove_file(&path).expect("removable");
        },
    );
}

#[test]
fn adapters_for_every_tensor_end_in_a_message() {
    on_all_cores(changed().step_by(4), Models::new, |models, seed, folder, tally| {
        let model = models.plain[seed as usize / 4 % models.plain.len()].clone();
        let architecture = model.numbers.architecture;
        let [path, adapter] =
            ["model", "adapter"].map(|part| folder.join(format!("{architecture}-{seed}-{part}.gguf")));
        model.write(&path).expect("writable");
        adapters::write(&model, seed, &adapter).expect("writable");
        let [name, lora] = [&path, &adapter].map(|path| path.to_str().expect("UTF-8"));
        let args = ["-m", name, "-me", name, "-ma", name, "--expert-lora", lora];
        let trial =
            Trial { path: &adapter, kind: architecture, seed, change: "", args: &args, max_kb: MAX_RESIDENT_KB };
        trial.run(tally);
        for path in [path, adapter] {
            std::fs::remove_file(path).expect("removable");
        }
    });
}
