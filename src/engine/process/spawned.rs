//! A process that was started, and the threads at its pipes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::frame::Frame;
use super::setup::Child;
use crate::plain::plain;

/// What comes from a process.
pub(super) enum Note {
    Frame(Box<Frame>),
    /// It no longer speaks or listens as it should.
    Broken(String),
    /// It has closed its stdout.
    End,
}

pub(super) struct Spawned {
    process: std::process::Child,
    pub notes: Receiver<Note>,
    /// Lines for its stdin, which is closed when all senders are gone. Whoever sends never waits.
    pub commands: Option<Sender<Vec<u8>>>,
    pub pid: u32,
}

impl Spawned {
    /// Starts a process, with its first line.
    pub fn start(child: &Child, setup: Vec<u8>) -> io::Result<Self> {
        let mut command = Command::new(&child.program);
        // Without a debugger that llama.cpp would attach before it aborts.
        command.args(&child.args).env("GGML_NO_BACKTRACE", "1");
        // A ctrl-C is for this process, which then ends the child.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (note, notes) = unbounded();
        let (commands, lines) = unbounded();
        // It is there to be received.
        let _ = commands.send(setup);
        let pid = process.id();
        let started = Self { process, notes, commands: Some(commands), pid };
        if let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) {
            let broken = note.clone();
            thread("engine-stdin", move || write(stdin, &lines, &broken))?;
            thread("engine-stdout", move || read(stdout, &note))?;
            thread("engine-stderr", move || pass_on(stderr))?;
        }
        Ok(started)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        match self.process.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            // Whoever ignores SIGCHLD, or takes all children's statuses, hears that there is none.
            Err(_) => Some("how is not known".to_owned()),
        }
    }

    /// How it ends, if it does in time.
    pub fn ends_within(&mut self, patience: Duration) -> Option<String> {
        let began = Instant::now();
        loop {
            let how = self.ended();
            if how.is_some() || began.elapsed() > patience {
                return how;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it, without waiting until it has ended.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        /// What is killed ends at once, unless it hangs in a driver.
        const PATIENCE: Duration = Duration::from_secs(2);
        self.kill();
        self.ends_within(PATIENCE);
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn write(mut stdin: impl Write, lines: &Receiver<Vec<u8>>, note: &Sender<Note>) {
    for line in lines {
        if let Err(error) = stdin.write_all(&line) {
            // Nobody waits for the note of a process that is known to have ended.
            let _ = note.send(Note::Broken(format!("it takes no commands: {error}")));
            return;
        }
    }
}

fn read(stdout: impl Read, note: &Sender<Note>) {
    let each = |line: &[u8]| match Frame::read(line) {
        None => talk(line),
        Some(frame) => {
            let broken = |error| Note::Broken(format!("what it tells cannot be read: {error}"));
            let _ = note.send(frame.map_or_else(broken, |frame| Note::Frame(Box::new(frame))));
        }
    };
    each_line(stdout, each);
    let _ = note.send(Note::End);
}

fn pass_on(stderr: impl Read) {
    each_line(stderr, talk);
}

/// Every line up to the end, without its end and without those that are empty.
fn each_line(pipe: impl Read, mut each: impl FnMut(&[u8])) {
    let mut pipe = BufReader::with_capacity(1 << 16, pipe);
    let mut line = Vec::new();
    // A pipe that cannot be read any more has ended.
    while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        if !line.trim_ascii().is_empty() {
            each(line.trim_ascii_end());
        }
        line.clear();
    }
}

/// Words for people. Where nobody reads them there is nobody to tell.
fn talk(line: &[u8]) {
    let _ = writeln!(io::stderr(), "{}", plain(&String::from_utf8_lossy(line)));
}
