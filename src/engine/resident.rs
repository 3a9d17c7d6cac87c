//! An ensemble in the engine, with what was learnt of it and the sequences that nobody uses.

use crate::generate::Task;
use crate::generate::draft::Policy;
use crate::steer::{Ensemble, Error, Idle, Sampled};

pub(super) struct Resident {
    pub ensemble: Ensemble,
    /// Of the steered texts, then of every lane by itself.
    pub policies: Vec<Policy>,
    pub idle: Idle,
}

impl Resident {
    pub fn new(ensemble: Ensemble) -> Self {
        let policies = vec![Policy::default(); ensemble.lanes().len() + 1];
        Self { ensemble, policies, idle: Idle::default() }
    }

    pub fn policy(&self, sampled: Sampled) -> Result<&Policy, Error> {
        Ok(&self.policies[self.policy_of(sampled)?])
    }

    pub fn policy_mut(&mut self, sampled: Sampled) -> Result<&mut Policy, Error> {
        let which = self.policy_of(sampled)?;
        Ok(&mut self.policies[which])
    }

    fn policy_of(&self, sampled: Sampled) -> Result<usize, Error> {
        match sampled {
            Sampled::Steered => Ok(0),
            Sampled::Alone(role) => self.ensemble.lane(role).map(|lane| lane + 1).ok_or(Error::NoLane { role }),
        }
    }

    /// Which policy is for texts that are sampled as the task is.
    pub fn kind(&self, task: &Task) -> usize {
        self.policy_of(task.sampled()).unwrap_or(0)
    }

    /// Makes room for so many tokens on every lane, as far as there is something to forget; whether there is room.
    pub fn make_room(&mut self, n_tokens: usize) -> bool {
        self.idle.make_room(&mut self.ensemble, n_tokens)
    }
}
