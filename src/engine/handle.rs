//! An engine that runs elsewhere: on a thread, or in a process of its own. What goes to it and comes back is plain data.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, unbounded};

use super::about::About;
use super::desk::{Question, Reply};
use super::health::Health;
use super::listeners::Listener;
use super::process::setup::{Child, Setup};
use super::process::supervised::Supervised;
use super::thread::Thread;
use super::{Engine, Id};
use crate::generate::Request;
use crate::generate::event::{Event, Failure};
use crate::steer::WeightsRequest;

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

/// An engine that takes requests from any thread. It ends with the last of its handles, and what runs ends with it.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

struct Inner {
    next: AtomicU64,
    transport: Transport,
}

enum Transport {
    Thread(Thread),
    Process(Supervised),
}

impl Handle {
    /// Moves an engine to a thread of its own.
    pub fn spawn(engine: Engine) -> std::io::Result<Self> {
        Ok(Self::over(Transport::Thread(Thread::spawn(engine, || {})?)))
    }

    /// Starts a process that loads what the set-up names, and returns at once: [`Self::wait`] waits for it. A process that
    /// dies or no longer answers is started again, and whoever waited for it is told; one that cannot be loaded at first is
    /// not. Fails where the program cannot be started.
    ///
    /// The child ends with this process, however that ends. Its talk goes to stderr.
    #[allow(clippy::needless_pass_by_value, reason = "it is the process's from then on")]
    pub fn supervise(child: Child, setup: Setup) -> std::io::Result<Self> {
        Ok(Self::over(Transport::Process(Supervised::spawn(child, &setup)?)))
    }

    fn over(transport: Transport) -> Self {
        Self(Arc::new(Inner { next: AtomicU64::new(0), transport }))
    }

    /// Takes a request in; what comes of it is told by events. A request that cannot be run fails by an event too.
    pub fn submit(&self, request: Request) -> Result<Running, Failure> {
        self.submit_to(0, request)
    }

    /// The same for one of several ensembles.
    pub fn submit_to(&self, ensemble: usize, request: Request) -> Result<Running, Failure> {
        let (sender, events) = unbounded();
        let id = self.submit_with(ensemble, request, Box::new(move |event| sender.send(event).is_ok()))?;
        Ok(Running { id, events, has_ended: false })
    }

    /// The same with events for a listener, which hears one last event, unless this fails. Refused where as many requests
    /// wait as may wait ([`Kind::Busy`](crate::generate::event::Kind::Busy)), and where the engine is not there
    /// ([`Kind::Unavailable`](crate::generate::event::Kind::Unavailable)).
    pub fn submit_with(&self, ensemble: usize, request: Request, listener: Listener) -> Result<Id, Failure> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        match &self.0.transport {
            Transport::Thread(thread) => thread.submit(id, ensemble, request, listener)?,
            Transport::Process(process) => process.submit(id, ensemble, &request, listener)?,
        }
        Ok(id)
    }

    /// Ends a request; its last event tells so.
    pub fn cancel(&self, id: Id) {
        match &self.0.transport {
            Transport::Thread(thread) => thread.cancel(id),
            Transport::Process(process) => process.cancel(id),
        }
    }

    /// Steers a request otherwise from its next token on; what is not asked for stays as it is. An event tells from which
    /// position on it holds. A request that cannot be steered so ends with an error.
    pub fn steer(&self, id: Id, asked: WeightsRequest) {
        match &self.0.transport {
            Transport::Thread(thread) => thread.steer(id, asked),
            Transport::Process(process) => process.steer(id, &asked),
        }
    }

    /// Asks what needs no text to be run. Blocks until it is answered, and never waits for a tick.
    #[allow(clippy::needless_pass_by_value, reason = "as a request is handed over, wherever the engine runs")]
    pub fn ask(&self, question: Question) -> Result<Reply, Failure> {
        match &self.0.transport {
            Transport::Thread(thread) => thread.desk().answer(&question),
            Transport::Process(process) => process.ask(self.0.next.fetch_add(1, Ordering::Relaxed), &question),
        }
    }

    #[must_use]
    pub fn health(&self) -> Health {
        match &self.0.transport {
            Transport::Thread(thread) => thread.health(),
            Transport::Process(process) => process.health(),
        }
    }

    /// Blocks until the engine takes requests: facts of its ensembles, or why it never will.
    pub fn wait(&self) -> Result<Arc<Vec<About>>, Failure> {
        match &self.0.transport {
            Transport::Thread(thread) => thread.about(),
            Transport::Process(process) => process.wait(),
        }
    }

    /// Ends the engine at once, for all of its handles: whoever waits is told, and it does not come back.
    pub fn kill(&self) {
        match &self.0.transport {
            Transport::Thread(thread) => thread.kill(),
            Transport::Process(process) => process.kill(),
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Handle").field(&self.health()).finish()
    }
}
