//! Files of strangers as the pair of a host, each in a process of its own: the host goes on.
//!
//! `PROXYTUNE_HOSTILE` tells how many, as in the tests of the program, which is the host's probe.

use std::path::PathBuf;
use std::process::Command;

use crate::host::sampler_init;
use crate::plugin::{Params, pair, proxytune};
use crate::strangers::child::{Outcome, Tally, run};
use crate::strangers::models::Models;

/// Set for the process that is the host.
const PAIR: &str = "PROXYTUNE_HOSTILE_PAIR";
const N_FILES: u64 = 12;
const MAX_RESIDENT_KB: u64 = 512 << 10;
/// The first models are as they should be.
const FIRST_CHANGED: u64 = 206;

#[test]
fn files_of_strangers_do_not_end_a_host() {
    let seeds: Vec<u64> = match std::env::var("PROXYTUNE_HOSTILE") {
        Err(_) => (0..N_FILES).map(|i| FIRST_CHANGED + 37 * i).collect(),
        Ok(asked) => {
            let (from, to) = asked.split_once("..").unwrap_or(("0", &asked));
            let number = |text: &str| text.parse().expect("PROXYTUNE_HOSTILE is a number or a range");
            (number(from)..number(to)).collect()
        }
    };
    let (folder, probe) = (tempfile::tempdir().expect("a temporary folder"), proxytune());
    let (mut models, mut tally) = (Models::new(), Tally::default());
    for seed in seeds {
        let model = models.get(seed);
        let architecture = model.numbers.architecture;
        let path = folder.path().join(format!("{architecture}-{seed}.gguf"));
        model.write(&path).expect("writable");
        let mut host = Command::new(std::env::current_exe().expect("a path"));
        host.args(["--exact", "hostile::a_host", "--ignored", "--nocapture"]).env(PAIR, &path);
        host.env("PROXYTUNE_PROBE", &probe);
        let (outcome, said) = run(&mut host, MAX_RESIDENT_KB, |_| false);
        tally.add("pt_pair_new", architecture, &outcome);
        if outcome != Outcome::Ran {
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            tally.complaints.push(format!("{architecture} {seed}: {outcome}: {}: {last}", model.change));
        }
        std::fs::remove_file(&path).expect("removable");
    }
    println!("{tally}");
    assert!(tally.complaints.is_empty(), "{}:\n{}", tally.complaints.len(), tally.complaints.join("\n"));
}

#[test]
#[ignore = "the process that a file may end"]
fn a_host() {
    let Some(path) = std::env::var_os(PAIR).map(PathBuf::from) else { return };
    // The host has the base, in a file of its own.
    let base = path.with_extension("base.gguf");
    std::fs::copy(&path, &base).expect("writable");
    let mut params = Params::new().with(|p| &mut p.base_path, &base).with(|p| &mut p.expert, &path);
    params.raw.sampler_init = sampler_init as *mut std::ffi::c_void;
    if let Err((_, words)) = pair(&params) {
        assert!(!words.is_empty(), "the host hears why");
    }
}
