//! A child that asks llama.cpp, and how it ended.
//!
//! The request is an argument and the answer a line on stdout. stdin carries nothing: it stays open as long as somebody
//! wants the answer, and a child ends itself when it is closed, so that no child outlives its parent.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Probed, Request, verdicts};
use crate::llama::context::Sequences;
use crate::remembered;
use crate::steer::{Facts, ModelSource, Plan, Role};

/// llama.cpp needs a moment to lay a model out. Loading weights takes as long as it takes.
const PATIENCE: Duration = Duration::from_secs(25);
/// Seconds in place of it, for devices that take long to start.
const PATIENCE_VARIABLE: &str = "PROXYTUNE_PROBE_SECONDS";
/// Names a program that answers, for libraries and plugins whose host does not.
const PROGRAM_VARIABLE: &str = "PROXYTUNE_PROBE";

/// A program that answers a [`Request`]: `proxytune`, or one that calls [`super::serve`].
#[derive(Debug, Clone)]
pub struct Prober {
    program: PathBuf,
    /// In front of the request.
    args: Vec<OsString>,
    /// Servers whose devices a plan may name.
    rpc: Vec<String>,
}

/// What came of asking.
#[derive(Debug)]
pub struct Answer {
    pub probed: Result<Probed, Ended>,
    /// What llama.cpp said meanwhile.
    pub log: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    #[error("llama.cpp does not survive this file ({}){}{last_words}", status.map_or("it has ended".to_owned(), |status| status.to_string()), if last_words.is_empty() { "" } else { ": " })]
    Died {
        /// `None` where this process is not told how its children end.
        status: Option<ExitStatus>,
        last_words: String,
    },
    #[error("llama.cpp did not lay it out in {} seconds", .0.as_secs())]
    TimedOut(Duration),
    #[error("llama.cpp was interrupted")]
    Interrupted,
    /// Not the file's fault.
    #[error("llama.cpp could not be asked in a process of its own: {0}")]
    NotAsked(#[from] io::Error),
}

/// A file of a plan that llama.cpp does not survive.
#[derive(Debug, thiserror::Error)]
#[error("{role}: {}: {ended}", path.display())]
pub struct Refused {
    pub role: Role,
    pub path: PathBuf,
    pub ended: Ended,
}

impl Refused {
    /// Whether it was stopped on purpose.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.ended, Ended::Interrupted)
    }

    /// The next step.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self.ended {
            Ended::Died { .. } => Some(
                "numbers in its header do not fit together, or its architecture is newer than this llama.cpp: download or \
                 convert the file again",
            ),
            Ended::TimedOut(_) => Some(
                "PROXYTUNE_PROBE_SECONDS=300 waits longer, and a smaller context (-c) is laid out faster; `proxytune check -v` \
                 shows what llama.cpp does",
            ),
            Ended::Interrupted | Ended::NotAsked(_) => None,
        }
    }
}

impl Prober {
    /// Asks `program`, which is started with `args` and the request behind them.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = OsString>) -> Self {
        Self { program: program.into(), args: args.into_iter().collect(), rpc: Vec::new() }
    }

    /// The `proxytune` that the environment variable `PROXYTUNE_PROBE` names.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        std::env::var_os(PROGRAM_VARIABLE).filter(|program| !program.is_empty()).map(Self::proxytune)
    }

    /// Asks a `proxytune`.
    #[must_use]
    pub fn proxytune(program: impl Into<PathBuf>) -> Self {
        Self::new(program, [super::COMMAND.into()])
    }

    /// The same, with servers whose devices a plan may name.
    #[must_use]
    pub fn with_rpc(self, endpoints: &[String]) -> Self {
        Self { rpc: endpoints.to_vec(), ..self }
    }

    /// Refuses a plan with a file that llama.cpp does not survive laying out as the plan asks. What was laid out is
    /// remembered until the file, this program, the plan's parameters or the devices change.
    ///
    /// `stopped` is asked whether to give up. Where a file could not be asked about, the others were.
    pub fn admit(&self, plan: &Plan, facts: &Facts, stopped: &(dyn Fn() -> bool + Sync)) -> Result<(), Refused> {
        let folder = remembered::folder(&|name| std::env::var_os(name));
        let asked = plan.contexts(facts).into_iter().map(|(role, source, sequences)| {
            let request = self.layout_of(source, sequences);
            let line = verdicts::line(&self.program, &self.args, &request);
            (role, request, line)
        });
        let is_known = |line: &Option<String>| {
            folder.as_deref().zip(line.as_deref()).is_some_and(|(folder, line)| verdicts::has(folder, line))
        };
        let asked: Vec<_> = asked.filter(|(.., line)| !is_known(line)).collect();
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask =
                |request| std::thread::Builder::new().spawn_scoped(scope, move || self.ask(request, stopped).probed);
            let asking: Vec<_> = asked.iter().map(|(_, request, _)| ask(request)).collect();
            let lost = |_| Err(io::Error::other("its thread was lost").into());
            asking.into_iter().map(|thread| thread?.join().unwrap_or_else(lost)).collect()
        });
        let mut not_asked = None;
        for ((role, request, line), answer) in asked.into_iter().zip(answers) {
            let refused = |ended| Refused { role, path: request.source.path.clone(), ended };
            match answer {
                // What llama.cpp refused it may take the next time, if a device is there again.
                Ok(probed) if probed.layout.is_err() => {}
                // Where it cannot be kept, the next run asks again.
                Ok(_) => drop(folder.as_deref().zip(line).map(|(folder, line)| verdicts::keep(folder, &line))),
                Err(ended @ Ended::NotAsked(_)) => not_asked = Some(refused(ended)),
                Err(ended) => return Err(refused(ended)),
            }
        }
        not_asked.map_or(Ok(()), Err)
    }

    /// Adapters are no part of a layout. A model that uses no device needs no server, which would have to serve one child
    /// after the other.
    fn layout_of(&self, source: &ModelSource, sequences: Sequences) -> Request {
        let source = ModelSource { adapters: Vec::new(), ..source.clone() };
        let uses_devices = source.model.devices.as_ref().is_none_or(|devices| !devices.is_empty());
        let rpc = if uses_devices { self.rpc.clone() } else { Vec::new() };
        Request { source, sequences, rpc, deep: false }
    }

    /// Asks about one file.
    pub fn ask(&self, request: &Request, stopped: &dyn Fn() -> bool) -> Answer {
        let mut log = String::new();
        let probed = self.exchange(request, stopped, &mut log);
        Answer { probed, log }
    }

    fn exchange(&self, request: &Request, stopped: &dyn Fn() -> bool, log: &mut String) -> Result<Probed, Ended> {
        let text = serde_json::to_string(request).map_err(io::Error::other)?;
        let mut command = Command::new(&self.program);
        // Without a debugger that llama.cpp would attach before it aborts.
        command.args(&self.args).arg(text).env("GGML_NO_BACKTRACE", "1");
        // A ctrl-C is for this process, which then ends the child.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (answer, said) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let patience = if request.deep { None } else { Some(patience()) };
        let status = wait(&mut child, patience, stopped);
        // What the child started, it too is told that nobody waits.
        drop(child.stdin.take());
        let [answer, said] =
            [answer, said].map(|pipe| pipe.map_or_else(|_| Vec::new(), |pipe| pipe.join().unwrap_or_default()));
        *log = String::from_utf8_lossy(&said).into_owned();
        // Libraries may have said something in front of it.
        let line = answer.split(|&byte| byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
        match (serde_json::from_slice(line), status) {
            (Ok(probed), _) => Ok(probed),
            (Err(_), Ok(status)) => Err(Ended::Died { status, last_words: last_words(log) }),
            (Err(_), Err(ended)) => Err(ended),
        }
    }
}

/// What a log says of a process's end.
fn last_words(log: &str) -> String {
    let assertion = log.lines().rfind(|line| line.contains("GGML_ASSERT") || line.contains("what():"));
    assertion.or_else(|| log.lines().rfind(|line| !line.trim().is_empty())).unwrap_or("").to_owned()
}

/// Reads a pipe to its end beside whatever else happens.
fn drain(pipe: Option<impl Read + Send + 'static>) -> io::Result<JoinHandle<Vec<u8>>> {
    std::thread::Builder::new().spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn patience() -> Duration {
    let asked = std::env::var(PATIENCE_VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
    asked.map_or(PATIENCE, Duration::from_secs)
}

/// How a child ended, if that is told; one that does not end, or that nobody waits for any more, is ended.
fn wait(
    child: &mut Child,
    patience: Option<Duration>,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<ExitStatus>, Ended> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(status) => return Ok(status),
            // Whoever ignores SIGCHLD, or takes all children's statuses, hears that there is none.
            Err(_) => return Ok(None),
        }
        let late = patience.filter(|patience| began.elapsed() > *patience);
        if late.is_some() || stopped() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(late.map_or(Ended::Interrupted, Ended::TimedOut));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
