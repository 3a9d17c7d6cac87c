//! An engine on a thread of its own. Everything that goes to it and comes back is plain data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::watchdog::{Shared, Watchdog};
use super::{Engine, Id};
use crate::generate::Request;
use crate::generate::event::{Event, Failed, Failure};

/// What an engine is told.
enum Command {
    Submit { id: Id, ensemble: usize, request: Box<Request>, events: Sender<Event> },
    Cancel(Id),
}

/// How an engine fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Texts that have a slot, and requests that wait for one.
    pub n_running: usize,
    pub n_waiting: usize,
    /// Since the last tick, while there is something to do.
    pub age: Duration,
    /// The watchdog gave up what ran.
    pub is_stalled: bool,
}

/// A running request: its events, until the last. One that is dropped is cancelled at its next event.
#[derive(Debug)]
pub struct Running {
    pub id: Id,
    events: Receiver<Event>,
    has_ended: bool,
}

impl Iterator for Running {
    type Item = Event;

    /// Waits for the next event.
    fn next(&mut self) -> Option<Event> {
        if self.has_ended {
            return None;
        }
        let event = self.events.recv().ok();
        self.has_ended = event.as_ref().is_none_or(Event::is_last);
        event
    }
}

/// An engine's thread. It ends with the last of its handles, and what runs ends with it.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

struct Inner {
    /// `None` when it ends.
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    next: AtomicU64,
    n_waiting_max: usize,
    _watchdog: Option<Watchdog>,
}

impl Handle {
    /// Moves an engine to a thread of its own.
    pub fn spawn(engine: Engine) -> std::io::Result<Self> {
        let (commands, inbox) = unbounded();
        let settings = *engine.settings();
        let shared = Arc::new(Shared::default());
        let watchdog = settings.watchdog.map(|limit| Watchdog::spawn(shared.clone(), limit)).transpose()?;
        let thread = {
            let shared = shared.clone();
            std::thread::Builder::new().name("engine".to_owned()).spawn(move || serve(engine, &inbox, &shared))?
        };
        Ok(Self(Arc::new(Inner {
            commands: Some(commands),
            thread: Some(thread),
            shared,
            next: AtomicU64::new(0),
            n_waiting_max: settings.n_slots + settings.n_queue,
            _watchdog: watchdog,
        })))
    }

    /// Takes a request in; what comes of it is told by events. A request that cannot be run fails by an event too.
    pub fn submit(&self, request: Request) -> Result<Running, Failure> {
        self.submit_to(0, request)
    }

    /// The same for one of several ensembles.
    pub fn submit_to(&self, ensemble: usize, request: Request) -> Result<Running, Failure> {
        let Inner { commands, shared, next, n_waiting_max, .. } = &*self.0;
        if shared.is_stalled() {
            return Err(Failure::busy("the engine does not answer"));
        }
        if shared.n_listening() >= *n_waiting_max {
            return Err(Failure::busy("as many requests are waiting as may wait"));
        }
        let id = next.fetch_add(1, Ordering::Relaxed);
        let (events, receiver) = unbounded();
        shared.listen(id, events.clone());
        let command = Command::Submit { id, ensemble, request: Box::new(request), events };
        let sent = commands.as_ref().is_some_and(|commands| commands.send(command).is_ok());
        if !sent {
            shared.end(id);
            return Err(super::watchdog::has_ended());
        }
        Ok(Running { id, events: receiver, has_ended: false })
    }

    /// Ends a request.
    pub fn cancel(&self, id: Id) {
        if let Some(commands) = &self.0.commands {
            // An engine that has ended has nothing to cancel.
            let _ = commands.send(Command::Cancel(id));
        }
    }

    #[must_use]
    pub fn health(&self) -> Health {
        let shared = &self.0.shared;
        let [n_running, n_waiting] = [&shared.n_running, &shared.n_waiting].map(|n| n.load(Ordering::Relaxed));
        Health { n_running, n_waiting, age: shared.age(), is_stalled: shared.is_stalled() }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct EndsAll<'a>(&'a Shared);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        self.0.end_all(&super::watchdog::has_ended());
    }
}

/// Ticks while there is something to do, and waits for commands where there is not, until nobody can send any more.
fn serve(mut engine: Engine, inbox: &Receiver<Command>, shared: &Shared) {
    // Whatever ends this thread, nobody waits for it in vain.
    let _ends_all = EndsAll(shared);
    let mut listeners: BTreeMap<Id, (Id, Sender<Event>)> = BTreeMap::new();
    let mut has_work = false;
    loop {
        let command = if has_work {
            match inbox.try_recv() {
                Ok(command) => Some(command),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return,
            }
        } else {
            shared.rest();
            match inbox.recv() {
                Ok(command) => Some(command),
                Err(_) => return,
            }
        };
        shared.beat();
        match command {
            Some(Command::Submit { id, ensemble, request, events }) => {
                match engine.submit_to(ensemble, &request) {
                    Ok(own) => drop(listeners.insert(own, (id, events))),
                    Err(failure) => {
                        let _ = events.send(Event::Failed(Failed { failure, text: String::new() }));
                        shared.end(id);
                    }
                }
                has_work = true;
                continue;
            }
            Some(Command::Cancel(id)) => {
                if let Some(own) = listeners.iter().find(|(_, (of, _))| *of == id).map(|(own, _)| *own) {
                    engine.cancel(own);
                }
                continue;
            }
            None => {}
        }
        let mut deaf = Vec::new();
        has_work = engine.tick(&mut |own, event| {
            let Some((id, events)) = listeners.get(&own) else { return };
            let (id, is_last) = (*id, event.is_last());
            let is_heard = events.send(event).is_ok();
            if is_last {
                listeners.remove(&own);
                shared.end(id);
            } else if !is_heard || !shared.is_listening(id) {
                deaf.push(own);
            }
        });
        for own in deaf {
            engine.cancel(own);
        }
        let (n_running, n_waiting) = engine.n_running();
        shared.n_running.store(n_running, Ordering::Relaxed);
        shared.n_waiting.store(n_waiting, Ordering::Relaxed);
    }
}
