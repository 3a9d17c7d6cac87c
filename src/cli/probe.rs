//! llama.cpp in a process of its own: what it does not survive takes nothing along.
//!
//! The program runs itself as `proxytune probe`, with a request on stdin and a report on stdout.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Done, args, interrupt};
use crate::inspect::probe::{self, Probed, Request};
use crate::llama::backend;
use crate::plain::plain;

/// llama.cpp needs a moment to lay a model out. Loading weights takes as long as it takes.
const PATIENCE: Duration = Duration::from_secs(50);

/// `proxytune probe`
pub fn run() -> Result<Done> {
    let request: Request = serde_json::from_reader(std::io::stdin().lock())?;
    let report = probe::run(&backend::shared()?, &request);
    serde_json::to_writer(std::io::stdout().lock(), &report)?;
    Ok(Done::Fine)
}

/// Asks a child; the error says how it ended, if it gave no report.
pub fn in_child(request: &Request, verbose: bool) -> Result<Probed, String> {
    let io = |error: std::io::Error| format!("llama.cpp could not be asked: {error}");
    let request_bytes = serde_json::to_vec(request).map_err(|_| "its path is not UTF-8".to_owned())?;
    let program = std::env::current_exe().map_err(io)?;
    let mut command = Command::new(program);
    command.arg(args::PROBE).args(verbose.then_some("--verbose"));
    // A debugger that llama.cpp would attach before it aborts.
    command.env("GGML_NO_BACKTRACE", "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(io)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that is gone already says so by its status.
        let _ = stdin.write_all(&request_bytes);
    }
    let (answer, said) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child, if request.deep { None } else { Some(PATIENCE) })?;
    let (answer, said) = (answer.join().unwrap_or_default(), said.join().unwrap_or_default());
    let said = String::from_utf8_lossy(&said);
    if verbose {
        eprint!("{}", plain(&said));
    }
    if let Ok(report) = serde_json::from_slice(&answer) {
        return Ok(report);
    }
    let last_words = said.lines().rfind(|line| line.contains("GGML_ASSERT") || line.contains("what():"));
    let last_words = last_words.or_else(|| said.lines().rfind(|line| !line.trim().is_empty())).unwrap_or("");
    let colon = if last_words.is_empty() { "" } else { ": " };
    Err(format!("llama.cpp does not survive this file ({status}){colon}{last_words}"))
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
fn wait(child: &mut Child, patience: Option<Duration>) -> Result<String, String> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status.to_string());
        }
        let stopped = interrupt::stopped();
        if stopped || patience.is_some_and(|patience| began.elapsed() > patience) {
            let _ = child.kill();
            let _ = child.wait();
            let why = if stopped { "llama.cpp was interrupted" } else { "llama.cpp did not lay it out in 50 seconds" };
            return Err(why.to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
