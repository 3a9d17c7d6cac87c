//! An engine on a thread of this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::about::About;
use super::desk::Desk;
use super::health::{Health, SlotHealth, State};
use super::listeners::{Heard, Listener};
use super::watchdog::{Load, Shared, Watchdog};
use super::{Engine, Id};
use crate::generate::Request;
use crate::generate::event::{Event, Failure};
use crate::steer::{Prompts, WeightsRequest};

/// What an engine is told.
enum Command {
    Submit(Box<Submitted>),
    Cancel(Id),
    Steer(Id, Box<WeightsRequest>),
    End,
}

/// A request, with its prompts where they are tokenised already.
struct Submitted {
    id: Id,
    ensemble: usize,
    request: Request,
    prompts: Option<Prompts>,
}

/// Texts that become prompts of more bytes do so on a thread of their own: no tick waits for them.
const LONG_PROMPT: usize = 16 << 10;

/// It ends when it is dropped, and what runs ends with it.
pub(super) struct Thread {
    commands: Sender<Command>,
    /// Requests whose prompts are long.
    long: Sender<Box<Submitted>>,
    running: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    n_max: usize,
    about: Arc<Vec<About>>,
    desk: Desk,
    _watchdog: Option<Watchdog>,
}

impl Thread {
    /// `changed` is called on the engine's thread when requests have come, got a slot or ended.
    pub fn spawn(engine: Engine, changed: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (commands, inbox) = unbounded();
        let settings = *engine.settings();
        let desk = engine.desk();
        let shared = Arc::new(Shared::default());
        let watchdog = settings.watchdog.map(|limit| Watchdog::spawn(shared.clone(), limit)).transpose()?;
        let running = {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name("engine".to_owned())
                .spawn(move || serve(engine, &inbox, &shared, &changed))?
        };
        let (long, waiting) = unbounded();
        {
            let (desk, shared, commands) = (desk.clone(), shared.clone(), commands.clone());
            // It ends with the last who could send it something, and nobody waits for that.
            std::thread::Builder::new()
                .name("prompts".to_owned())
                .spawn(move || tokenise(&desk, &waiting, &shared, &commands))?;
        }
        let about = Arc::new(desk.about());
        let n_max = settings.n_max();
        Ok(Self { commands, long, running: Some(running), shared, n_max, about, desk, _watchdog: watchdog })
    }

    pub fn submit(&self, id: Id, ensemble: usize, request: Request, listener: Listener) -> Result<(), Failure> {
        let Self { commands, shared, n_max, .. } = self;
        if let Some(failure) = shared.failure() {
            return Err(failure);
        }
        if shared.listeners.len() >= *n_max {
            return Err(Failure::full());
        }
        shared.listeners.add(id, listener);
        let submitted = Box::new(Submitted { id, ensemble, request, prompts: None });
        let is_sent = if submitted.request.n_text_bytes() > LONG_PROMPT {
            self.long.send(submitted).is_ok()
        } else {
            commands.send(Command::Submit(submitted)).is_ok()
        };
        // What is sent while the thread ends is received by nobody.
        if let Some(failure) = shared.failure().filter(|_| !is_sent || shared.has_ended()) {
            shared.listeners.remove(id);
            return Err(failure);
        }
        Ok(())
    }

    pub fn cancel(&self, id: Id) {
        // An engine that has ended has nothing to cancel.
        let _ = self.commands.send(Command::Cancel(id));
    }

    pub fn steer(&self, id: Id, asked: WeightsRequest) {
        // The same holds of one that has nothing to steer.
        let _ = self.commands.send(Command::Steer(id, Box::new(asked)));
    }

    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Facts of each ensemble, or why it does not come back.
    pub fn about(&self) -> Result<Arc<Vec<About>>, Failure> {
        match self.shared.failure().filter(|_| self.shared.has_ended()) {
            Some(failure) => Err(failure),
            None => Ok(self.about.clone()),
        }
    }

    pub fn health(&self) -> Health {
        let shared = &self.shared;
        let state = match shared.failure() {
            Some(failure) => State::Down { failure },
            None => State::Ready(self.about.clone()),
        };
        let Load { n_running, n_waiting, slots } = shared.load().clone();
        let (age, has_ended) = (shared.age(), shared.has_ended());
        let last_failure = shared.failure();
        Health { state, n_running, n_waiting, age, n_restarts: 0, pid: None, last_failure, has_ended, slots }
    }

    /// Ends it as soon as the running tick has; whoever waits is told at once.
    pub fn kill(&self) {
        let _ = self.commands.send(Command::End);
        self.shared.end();
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::End);
        // Its last handle may be one that a listener held.
        let thread = self.running.take().filter(|thread| thread.thread().id() != std::thread::current().id());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Tokenises long prompts, one request after the other, and hands them on.
fn tokenise(desk: &Desk, waiting: &Receiver<Box<Submitted>>, shared: &Shared, commands: &Sender<Command>) {
    for mut submitted in waiting {
        let id = submitted.id;
        // Whoever has gone needs no prompt.
        if !shared.listeners.has(id) {
            continue;
        }
        match desk.prompts(submitted.ensemble, &submitted.request) {
            Ok(prompts) => {
                submitted.prompts = Some(prompts);
                // An engine that has ended has told everybody so.
                let _ = commands.send(Command::Submit(submitted));
            }
            Err(failure) => shared.listeners.fail(id, failure),
        }
    }
}

struct EndsAll<'a>(&'a Shared);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The engine's id of a handle's request, if the engine has it.
fn own(ids: &BTreeMap<Id, Id>, id: Id) -> Option<Id> {
    ids.iter().find(|(_, of)| **of == id).map(|(own, _)| *own)
}

/// Ticks while there is something to do, and waits for commands where there is not, until it is told to end.
fn serve(mut engine: Engine, inbox: &Receiver<Command>, shared: &Shared, changed: &dyn Fn()) {
    // Whatever ends this thread, nobody waits for it in vain.
    let _ends_all = EndsAll(shared);
    // The ids of handles by those of the engine.
    let mut ids: BTreeMap<Id, Id> = BTreeMap::new();
    // What requests whose prompts are still tokenised were told of their steering.
    let mut early: BTreeMap<Id, Vec<WeightsRequest>> = BTreeMap::new();
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
            Some(Command::End) => return,
            Some(Command::Submit(submitted)) => {
                let Submitted { id, ensemble, request, prompts } = *submitted;
                let steered = early.remove(&id).unwrap_or_default();
                // Cancelled while its prompt was tokenised.
                if !shared.listeners.has(id) {
                    continue;
                }
                match engine.submit_with(ensemble, &request, prompts) {
                    Ok(own) => {
                        ids.insert(own, id);
                        for asked in &steered {
                            engine.steer(own, asked);
                        }
                    }
                    Err(failure) => shared.listeners.fail(id, failure),
                }
                has_work = true;
                continue;
            }
            Some(Command::Cancel(id)) => {
                match own(&ids, id) {
                    Some(own) => engine.cancel(own),
                    // Its prompt is being tokenised, or it has ended.
                    None => shared.listeners.fail(id, Failure::cancelled()),
                }
                continue;
            }
            Some(Command::Steer(id, asked)) => {
                if let Some(own) = own(&ids, id) {
                    engine.steer(own, &asked);
                    continue;
                }
                early.retain(|id, _| shared.listeners.has(*id));
                if shared.listeners.has(id) {
                    early.entry(id).or_default().push(*asked);
                }
                continue;
            }
            None => {}
        }
        let (mut deaf, mut has_changed) = (Vec::new(), false);
        has_work = engine.tick(&mut |own, event| {
            let Some(&id) = ids.get(&own) else { return };
            has_changed |= event.is_last() || matches!(event, Event::Started(_));
            if event.is_last() {
                ids.remove(&own);
            }
            if shared.listeners.tell(id, event) != Heard::Yes && ids.contains_key(&own) {
                deaf.push(own);
            }
        });
        for own in deaf {
            engine.cancel(own);
        }
        let mut load = shared.load();
        has_changed |= engine.n_running() != (load.n_running, load.n_waiting);
        (load.n_running, load.n_waiting) = engine.n_running();
        load.slots.clear();
        let handles = |slot: SlotHealth| Some(SlotHealth { id: *ids.get(&slot.id)?, ..slot });
        load.slots.extend(engine.slots().filter_map(handles));
        drop(load);
        if has_changed {
            changed();
        }
    }
}
