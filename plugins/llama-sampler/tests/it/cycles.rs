//! Nothing is left behind.

use std::sync::atomic::Ordering;

use proxytune_sampler::PT_BOTH;

use crate::host::{Files, N_SHELLS, Sampler};

/// Bytes of memory that the process holds.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

fn cycle(pair: &crate::plugin::Pair, i: i32) {
    let stage = Sampler::new(pair);
    stage.feed(PT_BOTH, &[1, 2, 3, i % 300]);
    let copy = stage.copy();
    copy.accept(&[i % 7]);
    stage.reset();
    stage.accept(&[5, 6]);
    stage.offset();
    if i % 2 == 0 {
        drop(stage);
        copy.offset();
    } else {
        drop(copy);
        stage.offset();
    }
}

/// A process of its own: other tests take memory too.
#[test]
#[ignore = "run by the test below"]
fn a_thousand_cycles() {
    let files = Files::new();
    let pair = files.pair();
    (0..200).for_each(|i| cycle(&pair, i));
    #[cfg(target_os = "linux")]
    let before = resident();
    (0..1000).for_each(|i| cycle(&pair, i));
    // Pairs as well, with their threads, models and contexts.
    let pairs = |n: usize| {
        for _ in 0..n {
            let pair = files.pair();
            cycle(&pair, 1);
        }
    };
    assert_eq!(N_SHELLS.load(Ordering::SeqCst), 0);
    #[cfg(target_os = "linux")]
    {
        let grown = |before: usize| resident().saturating_sub(before);
        assert!(grown(before) < 1 << 20, "1000 cycles left {} bytes", grown(before));
        pairs(10);
        let before = resident();
        pairs(50);
        eprintln!("50 pairs left {} bytes", grown(before));
        assert!(grown(before) < 4 << 20, "50 pairs left {} bytes", grown(before));
    }
}

#[test]
fn a_thousand_cycles_leave_nothing_behind() {
    let binary = std::env::current_exe().expect("a path");
    let output = std::process::Command::new(binary)
        .args(["--ignored", "--exact", "cycles::a_thousand_cycles", "--nocapture"])
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
