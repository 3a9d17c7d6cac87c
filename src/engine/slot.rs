//! A request on its way through the engine.

use std::time::Instant;

use super::Id;
use super::resident::Resident;
use crate::generate::{Event, Task};
use crate::steer::Error;

pub(super) struct Slot {
    pub id: Id,
    /// Which of the engine's ensembles it is on.
    pub resident: usize,
    pub task: Task,
    /// When its prompts were read.
    pub writes_since: Option<Instant>,
    pub is_cancelled: bool,
    pub has_ended: bool,
}

impl Slot {
    pub fn new(id: Id, resident: usize, task: Task) -> Self {
        Self { id, resident, task, writes_since: None, is_cancelled: false, has_ended: false }
    }

    /// Hands events out.
    pub fn tell(&self, events: &mut Vec<Event>, emit: &mut dyn FnMut(Id, Event)) {
        for mut event in events.drain(..) {
            if let (Event::Done(done), Some(since)) = (&mut event, self.writes_since) {
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
