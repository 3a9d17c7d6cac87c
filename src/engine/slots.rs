//! Slots and the queue in front of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::desk::{Desk, no_ensemble};
use super::health::SlotHealth;
use super::resident::Resident;
use super::slot::Slot;
use super::{Id, Settings, tick};
use crate::generate::draft::Policy;
use crate::generate::event::{Event, Failure, Kind};
use crate::generate::{Answer, Request, Task};
use crate::llama::invariance::Invariance;
use crate::steer::{Ensemble, Error, Loaded, Prompts, Sampled, Sequence, WeightsRequest};

/// Ensembles and the texts on them. [`Self::tick`] moves everything on.
pub struct Engine {
    /// Where each ensemble is, by its number.
    places: Vec<Place>,
    residents: Vec<Resident>,
    settings: Settings,
    slots: Vec<Slot>,
    queue: VecDeque<Slot>,
    next: Id,
}

/// Where an ensemble is.
enum Place {
    /// Among the residents.
    Open(usize),
    /// Its contexts are opened for the first request.
    Closed(Box<Loaded>),
}

impl Engine {
    /// An engine for one ensemble; the requests that name none are its.
    #[must_use]
    pub fn new(ensemble: Ensemble, settings: Settings) -> Self {
        let settings = settings.within(ensemble.n_texts());
        let (places, residents) = (vec![Place::Open(0)], vec![Resident::new(ensemble)]);
        Self { places, residents, settings, slots: Vec::new(), queue: VecDeque::new(), next: 0 }
    }

    /// An engine that is ticked inline, a text at a time.
    #[must_use]
    pub fn inline(ensemble: Ensemble) -> Self {
        Self::new(ensemble, Settings::default())
    }

    /// Another ensemble, which may share models with the others; its number.
    pub fn add(&mut self, ensemble: Ensemble) -> usize {
        self.places.push(Place::Open(self.residents.len()));
        self.residents.push(Resident::new(ensemble));
        self.places.len() - 1
    }

    /// An ensemble whose contexts are opened for its first request: that one fails where they cannot be. Its number.
    pub fn add_lazy(&mut self, loaded: Loaded) -> usize {
        self.places.push(Place::Closed(Box::new(loaded)));
        self.places.len() - 1
    }

    /// What can be asked of its ensembles, open or not.
    #[must_use]
    pub fn desk(&self) -> Desk {
        let loaded = |place: &Place| match place {
            Place::Open(resident) => self.residents[*resident].ensemble.loaded().clone(),
            Place::Closed(loaded) => (**loaded).clone(),
        };
        Desk::new(self.places.iter().map(loaded).collect())
    }

    /// The resident for an ensemble, which is opened for it if it is not yet.
    fn resident(&mut self, ensemble: usize) -> Result<usize, Failure> {
        let n = self.places.len();
        let place = self.places.get_mut(ensemble).ok_or_else(|| no_ensemble(ensemble, n))?;
        match place {
            Place::Open(resident) => Ok(*resident),
            Place::Closed(loaded) => {
                // Whatever llama.cpp says, the request is not at fault.
                let opened = loaded.open().map_err(|error| Failure { kind: Kind::Internal, ..error.into() })?;
                *place = Place::Open(self.residents.len());
                self.residents.push(Resident::new(opened));
                Ok(self.residents.len() - 1)
            }
        }
    }

    /// The first ensemble.
    #[must_use]
    pub fn ensemble(&self) -> &Ensemble {
        &self.residents[0].ensemble
    }

    /// The first ensemble, to be run by hand while no text is on it.
    pub fn ensemble_mut(&mut self) -> &mut Ensemble {
        &mut self.residents[0].ensemble
    }

    /// What is known of drafts for the first ensemble's texts that are sampled so.
    pub fn policy(&self, sampled: Sampled) -> Result<&Policy, Error> {
        self.residents[0].policy(sampled)
    }

    /// The same, to be taught.
    pub fn policy_mut(&mut self, sampled: Sampled) -> Result<&mut Policy, Error> {
        self.residents[0].policy_mut(sampled)
    }

    /// Forgets what was read for texts that have ended.
    pub fn forget(&mut self) {
        for Resident { ensemble, idle, .. } in &mut self.residents {
            while idle.forget_one(ensemble) {}
        }
    }

    /// Whether a lane's logits depend on how tokens are batched. Forgets what was read.
    pub fn invariance(&mut self, lane: usize) -> Result<Invariance, Error> {
        self.forget();
        self.residents[0].ensemble.invariance(lane)
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Texts that have a slot, and requests that wait for one.
    #[must_use]
    pub fn n_running(&self) -> (usize, usize) {
        (self.slots.len(), self.queue.len())
    }

    /// The texts that have a slot.
    pub fn slots(&self) -> impl Iterator<Item = SlotHealth> {
        self.slots.iter().map(Slot::health)
    }

    /// Takes a request in. It is refused where it cannot be run, or too many wait.
    pub fn submit(&mut self, request: &Request) -> Result<Id, Failure> {
        self.submit_to(0, request)
    }

    /// The same for one of several ensembles.
    pub fn submit_to(&mut self, ensemble: usize, request: &Request) -> Result<Id, Failure> {
        self.submit_with(ensemble, request, None)
    }

    /// The same with prompts that are tokenised already, if they are.
    pub(super) fn submit_with(
        &mut self,
        ensemble: usize,
        request: &Request,
        prompts: Option<Prompts>,
    ) -> Result<Id, Failure> {
        let Settings { n_slots, n_queue, .. } = self.settings;
        // Those that get a slot at the next tick do not wait.
        if self.queue.len() >= n_queue + n_slots.saturating_sub(self.slots.len()) {
            return Err(Failure::busy(format!("{n_queue} requests are waiting already, which is as many as may wait")));
        }
        let resident = self.resident(ensemble)?;
        let ensemble_of = &self.residents[resident].ensemble;
        let task = match prompts {
            Some(prompts) => Task::with(ensemble_of, request, prompts)?,
            None => Task::new(ensemble_of, request)?,
        };
        let id = self.next;
        self.next += 1;
        self.queue.push_back(Slot::new(id, ensemble, resident, task));
        Ok(id)
    }

    /// Ends a request at the next tick, wherever it is.
    pub fn cancel(&mut self, id: Id) {
        for slot in self.slots.iter_mut().chain(&mut self.queue).filter(|slot| slot.id == id) {
            slot.is_cancelled = true;
        }
    }

    /// Steers a request otherwise from its next token on, wherever it is; what is not asked for stays as it is. One that
    /// cannot be steered so ends with an error at the next tick.
    pub fn steer(&mut self, id: Id, asked: &WeightsRequest) {
        for slot in self.slots.iter_mut().chain(&mut self.queue).filter(|slot| slot.id == id) {
            if let Err(error) = slot.task.steer(&self.residents[slot.resident].ensemble, asked) {
                slot.refused = Some(error.into());
            }
        }
    }

    /// Moves everything on; `emit` hears of it. Whether there is anything left to do.
    pub fn tick(&mut self, emit: &mut dyn FnMut(Id, Event)) -> bool {
        self.drop_ended(emit);
        self.admit(emit);
        for (i, resident) in self.residents.iter_mut().enumerate() {
            let mut slots: Vec<&mut Slot> = self.slots.iter_mut().filter(|slot| slot.resident == i).collect();
            if !slots.is_empty() {
                tick::run(resident, &mut slots, &self.settings, emit);
            }
        }
        self.retire();
        !self.slots.is_empty() || !self.queue.is_empty()
    }

    /// Texts that have ended give up their slots.
    fn retire(&mut self) {
        for slot in self.slots.extract_if(.., |slot| slot.has_ended) {
            slot.retire(&mut self.residents);
        }
    }

    /// Ends what was cancelled, or cannot be steered as it was told to.
    fn drop_ended(&mut self, emit: &mut dyn FnMut(Id, Event)) {
        let mut events = Vec::new();
        let ends = |slot: &&mut Slot| slot.is_cancelled || slot.refused.is_some();
        for slot in self.slots.iter_mut().chain(&mut self.queue).filter(ends) {
            match slot.refused.take() {
                Some(failure) => slot.task.fail(failure, &mut events),
                None => slot.task.cancel(&self.residents[slot.resident].ensemble, &mut events),
            }
            slot.has_ended = true;
            slot.tell(&mut events, emit);
        }
        self.queue.retain(|slot| !slot.has_ended);
        self.retire();
    }

    /// Gives waiting tasks their slots, in the order in which they came. Where texts share cells, a prompt waits until what
    /// the others have read and are to read leaves room for it; requests to other ensembles pass it by.
    fn admit(&mut self, emit: &mut dyn FnMut(Id, Event)) {
        let mut events = Vec::new();
        let mut full = Vec::new();
        let mut next = 0;
        while self.slots.len() < self.settings.n_slots && next < self.queue.len() {
            let Slot { resident: at, task, .. } = &self.queue[next];
            if full.contains(at) || !self.has_room_for(*at, task) {
                full.push(*at);
                next += 1;
                continue;
            }
            let Some(mut slot) = self.queue.remove(next) else { return };
            let resident = &mut self.residents[slot.resident];
            let Resident { ensemble, idle, .. } = resident;
            slot.reads_since = Some(Instant::now());
            let started = match slot.task.sequence_from(idle, ensemble) {
                Ok(sequence) => slot.task.start(ensemble, sequence, &mut events),
                Err(error) => Err(error),
            };
            match started {
                Ok(()) => {
                    slot.tell(&mut events, emit);
                    self.slots.push(slot);
                }
                Err(error) => {
                    slot.fail(error, resident, &mut events);
                    slot.tell(&mut events, emit);
                }
            }
        }
    }

    /// Whether an ensemble has a sequence for a task, and its cells hold the task's prompts beside the texts that have a slot
    /// there. A text that has it to itself is let in whatever it needs.
    fn has_room_for(&self, at: usize, task: &Task) -> bool {
        let others: Vec<_> = self.slots.iter().filter(|slot| slot.resident == at).collect();
        let wanted = |slot: &&Slot| slot.task.sequence().map_or(0, Sequence::n_wanted);
        let n_others: usize = others.iter().map(wanted).sum();
        let ensemble = &self.residents[at].ensemble;
        let has_sequence = others.len() < ensemble.n_texts();
        let has_cells = n_others + others.len() + task.prompts().longest() < ensemble.n_cells();
        others.is_empty() || has_sequence && has_cells
    }

    /// Runs one request to its end; `show` gets each event and what it adds to the text. `cancel` is looked at between
    /// ticks. Refused while the engine has other requests, whose events nobody would hear.
    pub fn run(
        &mut self,
        request: &Request,
        cancel: &AtomicBool,
        answer: &mut Answer,
        mut show: impl FnMut(&Event, &str) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let mut shown = Ok(());
        let mut take = |event: Event, answer: &mut Answer| {
            let text = answer.add(event.clone());
            if shown.is_ok() {
                shown = show(&event, &text);
            }
            shown.is_ok()
        };
        if self.n_running() != (0, 0) {
            answer.failure = Some(Failure::busy("other requests are in the engine"));
            return Ok(());
        }
        let id = match self.submit(request) {
            Ok(id) => id,
            Err(failure) => {
                answer.failure = Some(failure);
                return Ok(());
            }
        };
        loop {
            if cancel.load(Ordering::Relaxed) {
                self.cancel(id);
            }
            let (mut has_ended, mut is_heard) = (false, true);
            self.tick(&mut |of, event| {
                if of == id {
                    has_ended |= event.is_last();
                    is_heard &= take(event, answer);
                }
            });
            if has_ended {
                return shown;
            }
            if !is_heard {
                self.cancel(id);
            }
        }
    }
}
