//! A child that asks llama.cpp, and how it ended.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{Probed, Request, verdicts};
use crate::llama::context::Sequences;
use crate::remembered;
use crate::steer::{Facts, ModelSource, Plan, Role};

/// llama.cpp needs a moment to lay a model out. Loading weights takes as long as it takes.
const PATIENCE: Duration = Duration::from_secs(25);
/// Names a program that answers, for libraries and plugins whose host does not.
const PROGRAM: &str = "PROXYTUNE_PROBE";

/// A program that answers a [`Request`]: `proxytune`, or one that calls [`super::serve`].
#[derive(Debug, Clone)]
pub struct Prober {
    program: PathBuf,
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
    #[error("llama.cpp does not survive this file ({status}){}{last_words}", if last_words.is_empty() { "" } else { ": " })]
    Died { status: ExitStatus, last_words: String },
    #[error("llama.cpp did not lay it out in {} seconds", PATIENCE.as_secs())]
    TimedOut,
    #[error("llama.cpp was interrupted")]
    Interrupted,
    /// Not the file's fault.
    #[error("llama.cpp could not be asked in a process of its own: {0}")]
    NotAsked(#[from] std::io::Error),
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
            Ended::TimedOut => {
                Some("a smaller context (-c) is laid out faster; `proxytune check -v` shows what llama.cpp does")
            }
            Ended::Interrupted | Ended::NotAsked(_) => None,
        }
    }
}

impl Prober {
    /// Asks `program`, which is started with `args`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = OsString>) -> Self {
        Self { program: program.into(), args: args.into_iter().collect(), rpc: Vec::new() }
    }

    /// The `proxytune` that the environment variable `PROXYTUNE_PROBE` names.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        std::env::var_os(PROGRAM).filter(|program| !program.is_empty()).map(Self::proxytune)
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

    /// Refuses a plan with a file that llama.cpp does not survive laying out as the plan asks. What survived is
    /// remembered until the file, this program or the plan's parameters change.
    ///
    /// `stopped` is asked whether to give up.
    pub fn admit(&self, plan: &Plan, facts: &Facts, stopped: &(dyn Fn() -> bool + Sync)) -> Result<(), Refused> {
        let folder = remembered::folder(&|name| std::env::var_os(name));
        let contexts = plan.contexts(facts);
        let ask = |(role, source, sequences): &(Role, &ModelSource, Sequences)| {
            // Adapters are not part of a layout.
            let source = ModelSource { adapters: Vec::new(), ..(*source).clone() };
            let path = source.path.clone();
            let request = Request { source, sequences: *sequences, rpc: self.rpc.clone(), deep: false };
            let line = verdicts::line(&self.program, &request);
            let known = folder.as_deref().zip(line.as_deref());
            if known.is_some_and(|(folder, line)| verdicts::has(folder, line)) {
                return Ok(());
            }
            self.ask(&request, stopped).probed.map_err(|ended| Refused { role: *role, path, ended })?;
            if let Some((folder, line)) = known {
                // Where it cannot be kept, the next run asks again.
                let _ = verdicts::keep(folder, line);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let asked: Vec<_> = contexts.iter().map(|context| scope.spawn(move || ask(context))).collect();
            asked.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
        })
    }

    /// Asks about one file.
    pub fn ask(&self, request: &Request, stopped: &dyn Fn() -> bool) -> Answer {
        let mut log = String::new();
        let probed = self.exchange(request, stopped, &mut log);
        Answer { probed, log }
    }

    fn exchange(&self, request: &Request, stopped: &dyn Fn() -> bool, log: &mut String) -> Result<Probed, Ended> {
        let request_bytes = serde_json::to_vec(request).map_err(std::io::Error::other)?;
        let mut command = Command::new(&self.program);
        // Without a debugger that llama.cpp would attach before it aborts.
        command.args(&self.args).env("GGML_NO_BACKTRACE", "1");
        // A ctrl-C is for this process, which then ends the child.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A child that is gone already says so by its status.
            let _ = stdin.write_all(&request_bytes);
        }
        let (answer, said) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let status = wait(&mut child, (!request.deep).then_some(PATIENCE), stopped);
        let (answer, said) = (answer.join().unwrap_or_default(), said.join().unwrap_or_default());
        *log = String::from_utf8_lossy(&said).into_owned();
        let status = status?;
        serde_json::from_slice(&answer).map_err(|_| Ended::Died { status, last_words: last_words(log) })
    }
}

/// What a log says of a process's end.
fn last_words(log: &str) -> String {
    let assertion = log.lines().rfind(|line| line.contains("GGML_ASSERT") || line.contains("what():"));
    assertion.or_else(|| log.lines().rfind(|line| !line.trim().is_empty())).unwrap_or("").to_owned()
}

/// Reads a pipe to its end beside whatever else happens.
fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// How a child ended; one that does not, or that nobody waits for any more, is ended.
fn wait(child: &mut Child, patience: Option<Duration>, stopped: &dyn Fn() -> bool) -> Result<ExitStatus, Ended> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let is_late = patience.is_some_and(|patience| began.elapsed() > patience);
        if is_late || stopped() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(if is_late { Ended::TimedOut } else { Ended::Interrupted });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
