//! What processes take of the system, as /proc tells.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The processes that a process has started.
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.flat_map(|task| of(task).split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Bytes of memory that are a process's own.
pub fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Files that a process has open.
pub fn n_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// Lets this process have so many files open, if it may.
pub fn allow_files(n: usize) -> Option<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let n = n as u64;
    if current.is_none_or(|current| current >= n) {
        return Some(());
    }
    let is_allowed = maximum.is_none_or(|maximum| maximum >= n);
    is_allowed.then(|| setrlimit(Resource::Nofile, Rlimit { current: Some(n), maximum }).ok()).flatten()
}

/// Whether a process is there, and no zombie.
pub fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
