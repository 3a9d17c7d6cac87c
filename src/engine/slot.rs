//! A request on its way through the engine.

use std::time::Instant;

use super::Id;
use super::health::SlotHealth;
use super::resident::Resident;
use crate::generate::event::Failure;
use crate::generate::{Event, Task};
use crate::steer::{Error, Sequence};

pub(super) struct Slot {
    pub id: Id,
    /// Which of the engine's ensembles it is on, and where that is.
    pub ensemble: usize,
    pub resident: usize,
    pub task: Task,
    /// When it got its slot, and when its prompts were read.
    pub reads_since: Option<Instant>,
    pub writes_since: Option<Instant>,
    pub is_cancelled: bool,
    /// What it was told cannot be done, so that it is to end.
    pub refused: Option<Failure>,
    pub has_ended: bool,
}

impl Slot {
    pub fn new(id: Id, ensemble: usize, resident: usize, task: Task) -> Self {
        Self {
            id,
            ensemble,
            resident,
            task,
            reads_since: None,
            writes_since: None,
            is_cancelled: false,
            refused: None,
            has_ended: false,
        }
    }

    /// How far it is, between ticks.
    pub fn health(&self) -> SlotHealth {
        let Self { id, ensemble, task, .. } = self;
        let (prompts, is_writing) = (task.prompts(), task.is_writing());
        let n_read = |sequence: &Sequence| {
            sequence.lanes().map(|lane| sequence.n_held(lane).min(prompts.lane(lane).len())).sum()
        };
        // The token that was chosen last is not decoded yet.
        let n_decoded = task.sequence().map_or(0, Sequence::n_generated) + usize::from(is_writing);
        let n_prompt_read = task.sequence().map_or(0, n_read);
        SlotHealth { id: *id, ensemble: *ensemble, n_prompt: prompts.n_tokens(), n_prompt_read, n_decoded, is_writing }
    }

    /// Hands events out.
    pub fn tell(&self, events: &mut Vec<Event>, emit: &mut dyn FnMut(Id, Event)) {
        for mut event in events.drain(..) {
            if let (Event::Done(done), Some(began), Some(since)) = (&mut event, self.reads_since, self.writes_since) {
                done.prompt_seconds = (since - began).as_secs_f64();
                done.seconds = since.elapsed().as_secs_f64();
            }
            emit(self.id, event);
        }
    }

    /// Ends with an error; what its lanes hold is not trusted any more.
    pub fn fail(&mut self, error: Error, resident: &mut Resident, events: &mut Vec<Event>) {
        self.task.fail(error.into(), events);
        self.has_ended = true;
        if let Some(sequence) = self.task.release() {
            resident.ensemble.close(sequence);
        }
    }

    /// Gives its sequence up, with what that holds.
    pub fn retire(mut self, residents: &mut [Resident]) {
        if let Some(sequence) = self.task.release() {
            residents[self.resident].idle.rest(sequence);
        }
    }
}
