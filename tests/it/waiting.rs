//! How long threads that wait look out before they sleep: said to libgomp by the environment that the program starts itself
//! anew with.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The environment of the program while it waits for a line, from half a second after its start on, by when it would have
/// started itself anew, and once it says `expected`.
fn environment(set: &[(&str, &str)], expected: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
    command.args(["chat", "-R", "demo"]).env_remove("GOMP_SPINCOUNT").env_remove("OMP_WAIT_POLICY");
    command.envs(set.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    let since = Instant::now();
    let mut said = String::new();
    while since.elapsed() < Duration::from_millis(500)
        || since.elapsed() < Duration::from_secs(30) && !said.contains(expected)
    {
        let bytes = std::fs::read(format!("/proc/{}/environ", child.id())).unwrap_or_default();
        said = String::from_utf8_lossy(&bytes).replace('\0', "\n");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    said
}

#[test]
fn threads_that_wait_are_told_to_sleep_soon() {
    let said = environment(&[], "GOMP_SPINCOUNT=");
    assert!(said.contains("GOMP_SPINCOUNT=2000\n"), "{said}");
}

#[test]
fn what_the_user_says_of_it_stays() {
    let said = environment(&[("GOMP_SPINCOUNT", "7")], "GOMP_SPINCOUNT=");
    assert!(said.contains("GOMP_SPINCOUNT=7\n"), "{said}");
    let said = environment(&[("OMP_WAIT_POLICY", "passive")], "OMP_WAIT_POLICY=");
    assert!(!said.contains("GOMP_SPINCOUNT"), "{said}");
}
