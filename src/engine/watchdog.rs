//! What an engine's thread tells of itself, and who tells its listeners when it no longer answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::health::SlotHealth;
use super::listeners::{Listeners, has_ended};
use crate::generate::event::{Failure, Kind};

/// What an engine's thread and its handles both know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub listeners: Listeners,
    /// Of the last tick; `None` while there is nothing to do.
    last_tick: Mutex<Option<Instant>>,
    load: Mutex<Load>,
    is_stalled: AtomicBool,
    has_ended: AtomicBool,
}

/// What is done after a tick.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    pub n_running: usize,
    pub n_waiting: usize,
    pub slots: Vec<SlotHealth>,
}

impl Shared {
    fn last_tick(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last_tick.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is done, to be read or told anew.
    pub fn load(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Since the last tick, while there is something to do.
    pub fn age(&self) -> Duration {
        self.last_tick().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The engine's thread is gone: whoever waits for it is told, and whoever comes later sees it.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        self.listeners.fail_all(&has_ended());
        *self.load() = Load::default();
    }

    /// Why no request can be taken in, if so.
    pub fn failure(&self) -> Option<Failure> {
        if self.has_ended.load(Ordering::SeqCst) {
            return Some(has_ended());
        }
        self.is_stalled.load(Ordering::Relaxed).then(|| stalled(self.age()))
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Gives up what runs, if the last tick began longer ago than the limit.
    fn check(&self, limit: Duration) {
        // While the lock is held no tick begins.
        let last_tick = self.last_tick();
        let Some(age) = last_tick.map(|since| since.elapsed()).filter(|age| *age > limit) else { return };
        self.is_stalled.store(true, Ordering::Relaxed);
        self.listeners.fail_all(&Failure { kind: Kind::Internal, ..stalled(age) });
    }
}

fn stalled(age: Duration) -> Failure {
    Failure::unavailable(format!("nothing was decoded for {:.1} s: the engine is stalled", age.as_secs_f64()))
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
        // Its last handle may be one that a listener held.
        let thread = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
