//! Who is measured: every model by itself, and all of them together.

use std::ops::Range;

use super::row::How;
use crate::engine::Engine;
use crate::steer::{Ensemble, Error, ModelSource, Plan, Role, Sampled};

/// A model by itself.
#[derive(Debug)]
pub struct Alone {
    /// Those that it plays.
    pub roles: Vec<Role>,
    pub source: ModelSource,
    /// The lane of the first of them.
    pub lane: usize,
}

/// Everything that takes turns, on one ensemble.
pub struct Subjects {
    pub engine: Engine,
    /// Each model once, the base's first.
    pub alone: Vec<Alone>,
    /// Something steers the base.
    pub is_steered: bool,
    /// The model of every lane of the steered text, as an index into `alone`.
    pub lanes: Vec<usize>,
}

impl Subjects {
    /// The subjects of a plan that was loaded.
    pub fn new(plan: &Plan, ensemble: Ensemble) -> Result<Self, Error> {
        let mut alone: Vec<Alone> = Vec::new();
        for (role, source) in plan.sources() {
            if let Some(known) = alone.iter_mut().find(|known| known.source == *source) {
                known.roles.push(role);
                continue;
            }
            let lane = ensemble.lane(role).ok_or(Error::NoLane { role })?;
            alone.push(Alone { roles: vec![role], source: source.clone(), lane });
        }
        let facts = plan.check()?;
        let place = |source: &ModelSource| alone.iter().position(|known| known.source == *source).unwrap_or(0);
        let lanes = plan.computed(&facts).into_iter().map(|(source, _)| place(source)).collect();
        Ok(Self { engine: Engine::inline(ensemble), alone, is_steered: !plan.pairs.is_empty(), lanes })
    }

    pub(super) fn ensemble(&self) -> &Ensemble {
        self.engine.ensemble()
    }

    /// Each by itself, then the steered text.
    pub(super) fn all(&self) -> Vec<How> {
        (0..self.alone.len()).map(How::Alone).chain(self.is_steered.then_some(How::Lockstep)).collect()
    }

    /// What a subject's texts are sampled from.
    pub(super) fn sampled(&self, how: How) -> Sampled {
        match how {
            How::Alone(i) => Sampled::Alone(self.alone[i].roles[0]),
            How::Lockstep | How::Speculative => Sampled::Steered,
        }
    }

    /// The lanes that a subject computes on.
    pub(super) fn lanes_of(&self, how: How) -> Range<usize> {
        match how {
            How::Alone(i) => self.alone[i].lane..self.alone[i].lane + 1,
            How::Lockstep | How::Speculative => 0..self.ensemble().lanes().len(),
        }
    }
}

impl Alone {
    /// The roles in words.
    #[must_use]
    pub fn name(&self) -> String {
        let names: Vec<_> = self.roles.iter().map(Role::to_string).collect();
        names.join(", ")
    }
}
