//! What the library lets others see.

use std::process::Command;

#[test]
#[cfg(target_os = "linux")]
fn only_its_own_functions_are_visible() {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(crate::plugin::path()).output().expect("nm");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).expect("UTF-8");
    let mut names: Vec<_> = output.lines().filter_map(|line| line.split_whitespace().last()).collect();
    names.sort_unstable();
    let expected = [
        "pt_abi_version",
        "pt_default_params",
        "pt_feed",
        "pt_last_error",
        "pt_pair_free",
        "pt_pair_new",
        "pt_rollback",
        "pt_set_alpha",
        "pt_stage_new",
        "pt_status",
        "pt_version",
    ];
    assert_eq!(names, expected);
}

/// Its llama.cpp is in it: it asks the system for nothing that a host's llama.cpp could answer.
#[test]
#[cfg(target_os = "linux")]
fn it_takes_nothing_from_a_hosts_llama_cpp() {
    let output = Command::new("nm").args(["-D", "--undefined-only"]).arg(crate::plugin::path()).output().expect("nm");
    let output = String::from_utf8(output.stdout).expect("UTF-8");
    let foreign: Vec<_> = output.lines().filter(|line| line.contains("llama") || line.contains("ggml")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}
