//! A command in a process of its own, and how it ended.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// No tiny model needs a second.
const WATCHDOG: Duration = Duration::from_secs(30);

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Ran,
    /// With a message.
    Refused,
    Silent,
    Panicked,
    Signal(i32),
    Hung,
    /// Took so much more memory than it may, in kB.
    Memory(u64),
}

impl Outcome {
    pub fn is_fine(&self) -> bool {
        matches!(self, Self::Ran | Self::Refused)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ran => f.write_str("ran"),
            Self::Refused => f.write_str("refused"),
            Self::Silent => f.write_str("failed without a word"),
            Self::Panicked => f.write_str("panicked"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Hung => write!(f, "ran for {} s", WATCHDOG.as_secs()),
            Self::Memory(_) => f.write_str("took too much memory"),
        }
    }
}

/// Runs `command`, which may take `max_kb` of memory; answers how it ended and what it said. `is_refusal` recognises
/// the words to exit code 1.
pub fn run(command: &mut Command, max_kb: u64, is_refusal: fn(&str) -> bool) -> (Outcome, String) {
    let mut child = command
        .env("GGML_NO_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let began = Instant::now();
    let mut resident = 0;
    let status = loop {
        resident = resident.max(resident_kb(child.id()));
        match child.try_wait().expect("it can be asked") {
            Some(status) => break Some(status),
            None if began.elapsed() > WATCHDOG => {
                child.kill().and_then(|()| child.wait().map(|_| ())).expect("it can be ended");
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let said = stdout.join().expect("read") + &stderr.join().expect("read");
    let outcome = match status {
        None => Outcome::Hung,
        Some(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => Outcome::Signal(signal),
            _ if resident > max_kb => Outcome::Memory(resident),
            _ if said.contains("panicked at") => Outcome::Panicked,
            (_, Some(0)) => Outcome::Ran,
            (_, Some(1)) if is_refusal(&said) => Outcome::Refused,
            _ => Outcome::Silent,
        },
    };
    (outcome, said)
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.expect("a pipe").read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The most memory that a process had so far; 0 where the system does not tell.
fn resident_kb(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// How often each command ended how, file by file.
#[derive(Debug, Default)]
pub struct Tally {
    /// By command, by kind of file, by outcome.
    counts: BTreeMap<&'static str, BTreeMap<String, BTreeMap<String, usize>>>,
    pub complaints: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, command: &'static str, kind: &str, outcome: &Outcome) {
        let counts = self.counts.entry(command).or_default().entry(kind.to_owned()).or_default();
        *counts.entry(outcome.to_string()).or_default() += 1;
    }

    pub fn merge(&mut self, other: Self) {
        for (command, kinds) in other.counts {
            for (kind, outcomes) in kinds {
                for (outcome, n) in outcomes {
                    let counts = self.counts.entry(command).or_default().entry(kind.clone()).or_default();
                    *counts.entry(outcome).or_default() += n;
                }
            }
        }
        self.complaints.extend(other.complaints);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |counts: &BTreeMap<String, usize>| {
            let parts: Vec<_> = counts.iter().map(|(outcome, n)| format!("{n} {outcome}")).collect();
            parts.join(", ")
        };
        for (command, kinds) in &self.counts {
            let mut all: BTreeMap<String, usize> = BTreeMap::new();
            for (outcome, n) in kinds.values().flatten() {
                *all.entry(outcome.clone()).or_default() += n;
            }
            writeln!(f, "{command}: {} files of {} kinds: {}", all.values().sum::<usize>(), kinds.len(), line(&all))?;
            for (kind, counts) in kinds {
                writeln!(f, "    {kind:18} {}", line(counts))?;
            }
        }
        Ok(())
    }
}
