//! What a program pays for the library: without the default features it brings no command line and no network.

use std::process::Command;

/// What a terminal, a hub or a task is needed for, and nothing else here.
const HEAVY: [&str; 12] = [
    "clap",
    "comfy-table",
    "ctrlc",
    "gguf-rs",
    "hf-hub",
    "indicatif",
    "regex",
    "ring",
    "rustyline",
    "sysinfo",
    "tokenizers",
    "ureq",
];

/// The names of the packages that are linked into one.
fn linked(args: &[&str]) -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8(tree.stdout).expect("UTF-8");
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn heavy(names: &[String]) -> Vec<&str> {
    HEAVY.into_iter().filter(|heavy| names.iter().any(|name| name == heavy)).collect()
}

#[test]
fn the_plugin_and_the_bare_library_are_light() {
    for args in [&["-p", "proxytune-sampler"][..], &["-p", "proxytune", "--no-default-features"]] {
        let names = linked(args);
        assert!(names.iter().any(|name| name == "llama-cpp-2"), "{args:?}: is the tree read as it is printed?");
        assert_eq!(heavy(&names), [""; 0], "{args:?}");
    }
}

#[test]
fn the_program_has_all_of_it() {
    assert_eq!(heavy(&linked(&["-p", "proxytune"])), HEAVY);
}

#[test]
fn a_base_on_a_server_needs_no_command_line() {
    let names = linked(&["-p", "proxytune", "--no-default-features", "--features", "remote"]);
    assert_eq!(heavy(&names), ["regex", "ring", "tokenizers", "ureq"]);
}

#[test]
fn downloads_need_no_command_line() {
    let names = linked(&["-p", "proxytune", "--no-default-features", "--features", "hub"]);
    assert_eq!(heavy(&names), ["hf-hub", "ring", "ureq"]);
}
