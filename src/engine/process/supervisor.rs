//! Keeps a process running: starts it, hears what it tells, ends it when it no longer answers, and starts it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, select};

use super::backoff::Backoff;
use super::frame::Frame;
use super::link::Link;
use super::setup::Child;
use super::spawned::{Note, Spawned};
use crate::engine::listeners::{Heard, has_ended};
use crate::generate::event::{Failure, Kind};

/// How often a process is looked at that tells nothing.
const LOOK: Duration = Duration::from_millis(100);
/// Without a beat for so long, or for the watchdog's limit where that is longer, it is taken for stopped.
const SILENCE: Duration = Duration::from_secs(10);
/// The same before the first: libraries of devices take long to start.
const FIRST_SILENCE: Duration = Duration::from_secs(60);
/// A process that is told to end may take so long to do it.
const ENDING: Duration = Duration::from_secs(2);
/// The same for one that has closed a pipe.
const CLOSING: Duration = Duration::from_millis(500);
/// What a process that has ended has told before may be read so long.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// A process that never was ready is not started more often.
const MAX_FIRST_STARTS: u32 = 3;

/// What a supervisor is told; where nobody is left to tell it, the process is asked to end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kill;

pub(super) struct Supervisor {
    pub child: Child,
    pub setup: Vec<u8>,
    pub watchdog: Option<Duration>,
    pub link: Arc<Link>,
    pub stop: Receiver<Kill>,
}

/// How the time of a process went by.
enum End {
    /// Nobody wants it any more.
    Stopped,
    /// It could not be loaded.
    Failed(Failure),
    Died {
        how: String,
        ready_for: Option<Duration>,
    },
}

impl Supervisor {
    /// Returns when the last handle is gone, the engine was killed, or it cannot be loaded.
    pub fn run(self, first: Spawned) {
        // Whatever ends this thread, nobody waits for it in vain.
        let _ends_all = EndsAll(&self.link);
        let mut backoff = Backoff::default();
        let mut was_ready = false;
        let mut started = Ok(first);
        loop {
            let (end, process) = match started {
                Ok(process) => {
                    let (end, process) = Attended::new(&self, process).run();
                    (end, Some(process))
                }
                Err(error) => (End::Died { how: format!("it cannot be started: {error}"), ready_for: None }, None),
            };
            let (failure, ready_for, is_final) = match end {
                End::Stopped => return,
                // What was loaded before may be there again later.
                End::Failed(failure) => (failure, None, !was_ready),
                End::Died { how, ready_for } => {
                    was_ready |= ready_for.is_some();
                    let is_final = !was_ready && backoff.n_deaths() + 1 >= MAX_FIRST_STARTS;
                    (died(&how, is_final), ready_for, is_final)
                }
            };
            self.link.down(&failure, is_final);
            // One that hangs in a driver takes its time to go: whoever waits was told before.
            drop(process);
            if is_final {
                return;
            }
            let delay = backoff.died(ready_for);
            if self.stop.recv_timeout(delay) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            started = Spawned::start(&self.child, self.setup.clone());
        }
    }
}

struct EndsAll<'a>(&'a Link);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        if !self.0.health().has_ended {
            self.0.down(&has_ended(), true);
        }
    }
}

fn died(how: &str, is_final: bool) -> Failure {
    let next = if is_final { "and did so at every start" } else { "and is started again" };
    let hint = (!is_final).then(|| "try again".to_owned());
    Failure { kind: Kind::Internal, message: format!("the engine's process has ended ({how}) {next}"), hint }
}

/// A process while it runs.
struct Attended<'a> {
    supervisor: &'a Supervisor,
    process: Spawned,
    ready_since: Option<Instant>,
    /// Looks at which nothing had been told since the one before. Time in which this process stood still does not count.
    n_silent: u32,
    has_beaten: bool,
}

impl<'a> Attended<'a> {
    fn new(supervisor: &'a Supervisor, process: Spawned) -> Self {
        supervisor.link.started(process.pid);
        Self { supervisor, process, ready_since: None, n_silent: 0, has_beaten: false }
    }

    fn run(mut self) -> (End, Spawned) {
        let (stop, notes) = (self.supervisor.stop.clone(), self.process.notes.clone());
        loop {
            let end = select! {
                recv(stop) -> kill => Some(self.stop(kill.is_ok())),
                recv(notes) -> note => self.hear(note.unwrap_or(Note::End)),
                default(LOOK) => self.look(),
            };
            if let Some(end) = end {
                return (end, self.process);
            }
        }
    }

    fn died(&self, how: String) -> End {
        End::Died { how, ready_for: self.ready_since.map(|since| since.elapsed()) }
    }

    /// Ends it, at once or by closing its stdin.
    fn stop(&mut self, at_once: bool) -> End {
        if at_once {
            self.process.kill();
        } else {
            self.process.commands = None;
            self.supervisor.link.hang_up();
            self.process.ends_within(ENDING);
        }
        End::Stopped
    }

    fn hear(&mut self, note: Note) -> Option<End> {
        self.n_silent = 0;
        match note {
            Note::Frame(frame) => self.take(*frame),
            // Most often it has closed its pipes by dying.
            Note::Broken(why) => Some(self.closed(why)),
            Note::End => Some(self.closed("it has closed its stdout".to_owned())),
        }
    }

    fn closed(&mut self, why: String) -> End {
        let how = self.process.ends_within(CLOSING).unwrap_or(why);
        self.process.kill();
        self.died(how)
    }

    fn take(&mut self, frame: Frame) -> Option<End> {
        let link = &self.supervisor.link;
        match frame {
            Frame::Loading { what, share } => link.loading(what, share),
            Frame::Ready(about) => {
                self.ready_since = Some(Instant::now());
                let commands = self.process.commands.clone()?;
                link.ready(about, commands);
            }
            Frame::Failed(failure) => {
                self.process.kill();
                return Some(End::Failed(failure));
            }
            Frame::GaveUp(how) => {
                self.process.kill();
                return Some(self.died(how));
            }
            Frame::Beat(beat) => {
                self.has_beaten = true;
                let age = beat.age;
                link.beat(beat);
                if self.supervisor.watchdog.is_some_and(|limit| age > limit) {
                    self.process.kill();
                    return Some(self.died(format!("nothing was decoded for {:.1} s", age.as_secs_f64())));
                }
            }
            Frame::Event(id, event) => {
                if link.listeners.tell(id, event) == Heard::No {
                    link.cancel(id);
                }
            }
            Frame::Reply(id, answer) => link.reply(id, answer),
        }
        None
    }

    /// Looks at a process that has told nothing for a while.
    fn look(&mut self) -> Option<End> {
        if let Some(how) = self.process.ended() {
            // Its last words may still be in the pipe, which somebody else may hold open.
            let deadline = Instant::now() + LAST_WORDS;
            while let Ok(Note::Frame(frame)) = self.process.notes.recv_deadline(deadline) {
                if let Some(end) = self.take(*frame) {
                    return Some(end);
                }
            }
            return Some(self.died(how));
        }
        self.n_silent += 1;
        let patience = if self.has_beaten { SILENCE } else { FIRST_SILENCE };
        let patience = patience.max(self.supervisor.watchdog.unwrap_or_default());
        if LOOK * self.n_silent < patience {
            return None;
        }
        self.process.kill();
        Some(self.died(format!("it told nothing for {} s", patience.as_secs())))
    }
}
