//! An engine in a process of its own, as its handles see it.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};

use super::frame::{Command, line};
use super::link::Link;
use super::setup::{Child, Setup};
use super::spawned::Spawned;
use super::supervisor::{Kill, Supervisor};
use crate::engine::Id;
use crate::engine::about::About;
use crate::engine::desk::{Question, Reply};
use crate::engine::health::Health;
use crate::engine::listeners::Listener;
use crate::generate::Request;
use crate::generate::event::{Failure, Kind};
use crate::steer::WeightsRequest;

/// It ends when it is dropped, and the process with it.
pub(in crate::engine) struct Supervised {
    link: Arc<Link>,
    stop: Option<Sender<Kill>>,
    supervisor: Option<JoinHandle<()>>,
}

impl Supervised {
    /// Starts a process, which loads what the set-up names while this returns.
    pub fn spawn(child: Child, setup: &Setup) -> io::Result<Self> {
        let refused = |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, reason);
        let first = setup.plans.first().ok_or_else(|| refused("there is no plan to load"))?;
        if first.lazy {
            return Err(refused("the first plan is always opened at once"));
        }
        let settings = setup.settings.within(first.plan.texts.n);
        let link = Arc::new(Link::new(settings.n_max()));
        let setup = line(setup)?;
        let process = Spawned::start(&child, setup.clone())?;
        let (stop, stopped) = bounded(1);
        let watchdog = settings.watchdog;
        let supervisor = Supervisor { child, setup, watchdog, link: link.clone(), stop: stopped };
        let run = move || supervisor.run(process);
        let supervisor = std::thread::Builder::new().name("supervisor".to_owned()).spawn(run)?;
        Ok(Self { link, stop: Some(stop), supervisor: Some(supervisor) })
    }

    pub fn submit(&self, id: Id, ensemble: usize, request: &Request, listener: Listener) -> Result<(), Failure> {
        let command = line(&Command::<_, ()>::Submit { id, ensemble, request });
        self.link.submit(id, command.map_err(|error| unspeakable(&error))?, listener)
    }

    pub fn ask(&self, id: Id, question: &Question) -> Result<Reply, Failure> {
        let command = line(&Command::<(), _>::Ask { id, question });
        self.link.ask(id, command.map_err(|error| unspeakable(&error))?)
    }

    pub fn cancel(&self, id: Id) {
        self.link.cancel(id);
    }

    pub fn steer(&self, id: Id, weights: &WeightsRequest) {
        // Weights are numbers and names, which JSON has words for.
        if let Ok(line) = line(&Command::<(), (), _>::Steer { id, weights }) {
            self.link.tell(line);
        }
    }

    pub fn health(&self) -> Health {
        self.link.health()
    }

    pub fn wait(&self) -> Result<Arc<Vec<About>>, Failure> {
        self.link.wait()
    }

    /// Ends the process at once. Whoever waits is told by the supervisor.
    pub fn kill(&self) {
        // A second one changes nothing.
        let _ = self.stop.as_ref().map(|stop| stop.try_send(Kill));
    }
}

/// A request holds what JSON has no words for: a path that is no UTF-8.
fn unspeakable(error: &serde_json::Error) -> Failure {
    Failure { kind: Kind::Request, message: format!("the request cannot be sent: {error}"), hint: None }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop = None;
        // Its last handle may be one that a listener held.
        let supervisor = self.supervisor.take().filter(|thread| thread.thread().id() != std::thread::current().id());
        if let Some(thread) = supervisor {
            let _ = thread.join();
        }
    }
}
