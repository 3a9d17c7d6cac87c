//! What handles and the supervisor both know: who waits for what, and whether there is a process to send it to.
//!
//! Who is taken in and when a process is gone is decided under one lock: whoever was taken in is told of its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use super::frame::{Beat, Command, line};
use crate::engine::Id;
use crate::engine::about::About;
use crate::engine::desk::Reply;
use crate::engine::health::{Health, State};
use crate::engine::listeners::{Listener, Listeners, has_ended};
use crate::generate::event::{Failure, Kind};

type Answer = Result<Reply, Failure>;

pub(super) struct Link {
    pub listeners: Listeners,
    askers: Mutex<BTreeMap<Id, Sender<Answer>>>,
    phase: Mutex<Phase>,
    changed: Condvar,
    /// Requests that are taken in at the same time.
    n_max: usize,
}

struct Phase {
    state: State,
    /// To the process, once it is loaded.
    commands: Option<Sender<Vec<u8>>>,
    beat: Beat,
    /// When that came.
    heard: Instant,
    n_starts: usize,
    pid: Option<u32>,
    last_failure: Option<Failure>,
    has_ended: bool,
}

impl Link {
    pub fn new(n_max: usize) -> Self {
        let phase = Phase {
            state: State::Loading { what: String::new(), share: 0.0 },
            commands: None,
            beat: Beat::default(),
            heard: Instant::now(),
            n_starts: 0,
            pid: None,
            last_failure: None,
            has_ended: false,
        };
        let (listeners, askers, changed) = (Listeners::default(), Mutex::default(), Condvar::new());
        Self { listeners, askers, phase: Mutex::new(phase), changed, n_max }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn askers(&self) -> MutexGuard<'_, BTreeMap<Id, Sender<Answer>>> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request in, given as a line.
    pub fn submit(&self, id: Id, line: Vec<u8>, listener: Listener) -> Result<(), Failure> {
        let phase = self.phase();
        let commands = phase.commands()?;
        if self.listeners.len() >= self.n_max {
            return Err(Failure::full());
        }
        self.listeners.add(id, listener);
        // Should nobody take it, the process is about to be found dead.
        let _ = commands.send(line);
        Ok(())
    }

    /// Sends a question, and waits for its answer.
    pub fn ask(&self, id: Id, line: Vec<u8>) -> Answer {
        let (sender, answer) = bounded(1);
        {
            let phase = self.phase();
            let commands = phase.commands()?;
            self.askers().insert(id, sender);
            let _ = commands.send(line);
        }
        answer.recv().unwrap_or_else(|_| Err(has_ended()))
    }

    /// Cancels a request, where there is a process that has it.
    pub fn cancel(&self, id: Id) {
        if let Ok(line) = line(&Command::<(), ()>::Cancel(id)) {
            self.tell(line);
        }
    }

    /// Sends a command that nothing answers, where there is a process.
    pub fn tell(&self, line: Vec<u8>) {
        if let Ok(commands) = self.phase().commands() {
            let _ = commands.send(line);
        }
    }

    /// Takes no commands any more, so that the process hears the end of them.
    pub fn hang_up(&self) {
        self.phase().commands = None;
    }

    /// A question is answered.
    pub fn reply(&self, id: Id, answer: Answer) {
        if let Some(asker) = self.askers().remove(&id) {
            let _ = asker.send(answer);
        }
    }

    /// A process was started.
    pub fn started(&self, pid: u32) {
        let mut phase = self.phase();
        phase.state = State::Loading { what: String::new(), share: 0.0 };
        phase.n_starts += 1;
        phase.pid = Some(pid);
    }

    pub fn loading(&self, what: String, share: f32) {
        self.phase().state = State::Loading { what, share };
    }

    /// It takes commands.
    pub fn ready(&self, about: Vec<About>, commands: Sender<Vec<u8>>) {
        let mut phase = self.phase();
        phase.state = State::Ready(Arc::new(about));
        phase.commands = Some(commands);
        self.changed.notify_all();
    }

    pub fn beat(&self, beat: Beat) {
        let mut phase = self.phase();
        (phase.beat, phase.heard) = (beat, Instant::now());
    }

    /// The process is gone: whoever waits is told why, and whoever comes is told so. `has_ended`: no other follows.
    pub fn down(&self, failure: &Failure, has_ended: bool) {
        {
            let mut phase = self.phase();
            phase.state = State::Down { failure: failure.clone() };
            phase.last_failure = Some(failure.clone());
            (phase.commands, phase.pid, phase.beat) = (None, None, Beat::default());
            phase.has_ended |= has_ended;
            self.changed.notify_all();
        }
        self.listeners.fail_all(failure);
        for (_, asker) in std::mem::take(&mut *self.askers()) {
            let _ = asker.send(Err(failure.clone()));
        }
    }

    /// Blocks until requests are taken in, or never will be.
    pub fn wait(&self) -> Result<Arc<Vec<About>>, Failure> {
        let mut phase = self.phase();
        loop {
            match &phase.state {
                State::Ready(about) => return Ok(about.clone()),
                State::Down { failure } if phase.has_ended => return Err(failure.clone()),
                _ => phase = self.changed.wait(phase).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    pub fn health(&self) -> Health {
        let phase = self.phase();
        let Beat { n_running, n_waiting, age, slots } = phase.beat.clone();
        let age = if age.is_zero() { Duration::ZERO } else { age + phase.heard.elapsed() };
        Health {
            state: phase.state.clone(),
            n_running,
            n_waiting,
            age,
            n_restarts: phase.n_starts.saturating_sub(1),
            pid: phase.pid,
            last_failure: phase.last_failure.clone(),
            has_ended: phase.has_ended,
            slots,
        }
    }
}

impl Phase {
    /// Where commands go, or why there is nobody to take them.
    fn commands(&self) -> Result<&Sender<Vec<u8>>, Failure> {
        self.commands.as_ref().ok_or_else(|| match &self.state {
            State::Down { failure } if self.has_ended => Failure { kind: Kind::Unavailable, ..failure.clone() },
            State::Down { failure } => Failure::unavailable(failure.message.clone()),
            State::Loading { what, share } if !what.is_empty() => {
                Failure::unavailable(format!("the engine is being loaded: {what}, {:.0} %", 100.0 * share))
            }
            State::Loading { .. } | State::Ready(_) => Failure::unavailable("the engine is being started"),
        })
    }
}
