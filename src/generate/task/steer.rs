//! A text that is steered otherwise while it is written.

use super::super::draft::MAX_STEP;
use super::super::event::{Event, Steered};
use super::Task;
use crate::steer::{Ensemble, Error, Sampled, Weights, WeightsRequest};

impl Task {
    /// Changes the weights from the next token on that is chosen; what is not asked for stays as it is. Between rounds, or
    /// before the first.
    pub fn steer(&mut self, ensemble: &Ensemble, asked: &WeightsRequest) -> Result<(), Error> {
        if let Sampled::Alone(role) = self.sampled {
            return Err(Error::NotSteered { role });
        }
        self.weights = ensemble.topology().changed(&self.weights, asked)?;
        self.is_steered = true;
        // A prompt that is looked at keeps the weights of its first token; those of the answer come behind it.
        if self.is_scoring() {
            return Ok(());
        }
        let (weights, is_catching_up) = (self.weights_ahead(), self.is_catching_up());
        let Some(sequence) = &mut self.sequence else { return Ok(()) };
        *sequence.weights_mut() = weights;
        // A text that writes looks at the beginning of each round who is needed.
        if is_catching_up {
            ensemble.wake(sequence, self.n_chosen..self.n_chosen + MAX_STEP);
        }
        Ok(())
    }

    /// The weights by positions behind the prompts, as a sequence counts them.
    pub(super) fn weights_ahead(&self) -> Weights {
        self.weights.behind(self.n_begun)
    }

    /// Tells of weights that hold from the next token on.
    pub(super) fn tell_steering(&mut self, events: &mut Vec<Event>) {
        if std::mem::take(&mut self.is_steered) {
            let (position, alpha) = (self.n_begun + self.n_chosen, self.weights.alphas().cloned().collect());
            events.push(Event::Steered(Steered { position, alpha }));
        }
    }
}
