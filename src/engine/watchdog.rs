//! Who listens to an engine, and who tells them when it no longer answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::Id;
use crate::generate::event::{Event, Failed, Failure, Kind};

/// What an engine's thread and its handles both know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    listeners: Mutex<BTreeMap<Id, Sender<Event>>>,
    /// Of the last tick; `None` while there is nothing to do.
    last_tick: Mutex<Option<Instant>>,
    is_stalled: AtomicBool,
    pub n_running: AtomicUsize,
    pub n_waiting: AtomicUsize,
}

impl Shared {
    fn listeners(&self) -> std::sync::MutexGuard<'_, BTreeMap<Id, Sender<Event>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_tick(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.last_tick.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn listen(&self, id: Id, events: Sender<Event>) {
        self.listeners().insert(id, events);
    }

    /// Nothing more comes of a request.
    pub fn end(&self, id: Id) {
        self.listeners().remove(&id);
    }

    /// Whether a request was not given up.
    pub fn is_listening(&self, id: Id) -> bool {
        self.listeners().contains_key(&id)
    }

    pub fn n_listening(&self) -> usize {
        self.listeners().len()
    }

    /// The engine is at work.
    pub fn beat(&self) {
        *self.last_tick() = Some(Instant::now());
        self.is_stalled.store(false, Ordering::Relaxed);
    }

    /// The engine has nothing to do.
    pub fn rest(&self) {
        *self.last_tick() = None;
        self.is_stalled.store(false, Ordering::Relaxed);
    }

    pub fn age(&self) -> Duration {
        self.last_tick().map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Relaxed)
    }

    /// Ends every request for its listener.
    pub fn end_all(&self, failure: &Failure) {
        for (_, events) in std::mem::take(&mut *self.listeners()) {
            let _ = events.send(Event::Failed(Failed { failure: failure.clone(), text: String::new() }));
        }
    }

    /// Gives up what runs, if the last tick began longer ago than the limit.
    fn check(&self, limit: Duration) {
        // While the lock is held no tick begins.
        let last_tick = self.last_tick();
        let Some(age) = last_tick.map(|since| since.elapsed()).filter(|age| *age > limit) else { return };
        self.is_stalled.store(true, Ordering::Relaxed);
        let message = format!("nothing was decoded for {:.1} s: the engine is stalled", age.as_secs_f64());
        self.end_all(&Failure { kind: Kind::Internal, message, hint: None });
    }
}

/// What is told to those who wait for an engine that is gone.
pub(super) fn has_ended() -> Failure {
    Failure { kind: Kind::Internal, message: "the engine has ended".to_owned(), hint: None }
}

/// A thread that looks at an engine's last tick every now and then.
pub(super) struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub fn spawn(shared: Arc<Shared>, limit: Duration) -> std::io::Result<Self> {
        /// Looks within a limit.
        const LOOKS: u32 = 4;
        /// A shorter limit would end what is only busy.
        const SHORTEST: Duration = Duration::from_millis(50);
        let limit = limit.max(SHORTEST);
        let (stop, stopped) = bounded::<()>(0);
        let watch = move || {
            while stopped.recv_timeout(limit / LOOKS) == Err(RecvTimeoutError::Timeout) {
                shared.check(limit);
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
