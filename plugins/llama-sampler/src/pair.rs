//! A pair that stages share: the handle to its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, unbounded};
use proxytune::llama::backend;
use proxytune::llama::log;
use proxytune::llama::stage::Init;
use proxytune::steer::{Ensemble, Models, Topology};

use crate::error::Error;
use crate::params::Wanted;
use crate::worker::{self, Id, Message};

/// A loaded pair. It ends with the last of its stages and handles, and waits for its thread then.
pub struct LoadedPair {
    /// `None` when it ends.
    messages: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    pub topology: Arc<Topology>,
    pub plausibility: f32,
    pub init: Init,
    n_stages_max: usize,
    n_stages: AtomicUsize,
    next: AtomicUsize,
}

impl LoadedPair {
    /// Checks and loads the files, and starts the thread.
    pub fn load(wanted: Wanted) -> Result<Arc<Self>, Error> {
        // This llama.cpp is the plugin's own; what it says goes into the errors.
        log::capture(false);
        let backend = backend::shared()?;
        let (init, n_stages_max, plausibility) = (wanted.init, wanted.n_stages, wanted.recipe.sampling.plausibility);
        let prober = wanted.prober.clone();
        let plan = wanted.plan(&backend)?;
        let facts = plan.check()?;
        if let Some(prober) = prober {
            prober.admit(&plan, &facts, &|| false)?;
        }
        let ensemble = Ensemble::load_checked(&backend, &plan, &facts, &mut Models::default(), &mut |_, _, _| true)?;
        let topology = ensemble.topology().clone();
        let (messages, inbox) = unbounded();
        let thread = std::thread::Builder::new()
            .name("proxytune".to_owned())
            .spawn(move || worker::run(ensemble, &inbox))
            .map_err(Error::Thread)?;
        let (n_stages, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (messages, thread) = (Some(messages), Some(thread));
        Ok(Arc::new(Self { messages, thread, topology, plausibility, init, n_stages_max, n_stages, next }))
    }

    /// Nothing is said where the thread has ended: who asks it for rows hears of it.
    pub fn send(&self, message: Message) {
        if let Some(messages) = &self.messages {
            let _ = messages.send(message);
        }
    }

    /// A number for a new stage, if there may be one more.
    pub fn admit(&self) -> Result<Id, Error> {
        let one_more = |n: usize| (n < self.n_stages_max).then_some(n + 1);
        match self.n_stages.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => Ok(self.next.fetch_add(1, Ordering::Relaxed)),
            Err(_) => Err(Error::Sequences { n_seq_max: self.n_stages_max }),
        }
    }

    /// To be called behind [`Message::Close`], so that whoever comes next finds a sequence.
    pub fn leave(&self) {
        self.n_stages.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for LoadedPair {
    fn drop(&mut self) {
        self.messages = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
