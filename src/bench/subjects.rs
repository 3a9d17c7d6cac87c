//! Who is measured: every model by itself, and all of them together.

use crate::steer::{Error, ModelSource, Plan, Role, Steered};

/// A model by itself.
#[derive(Debug)]
pub struct Alone {
    /// Those that it plays.
    pub roles: Vec<Role>,
    pub source: ModelSource,
    pub steered: Steered,
}

/// Everything that takes turns.
#[derive(Debug)]
pub struct Subjects {
    /// Each model once, the base's first.
    pub alone: Vec<Alone>,
    /// `None` for a base that nothing steers.
    pub steered: Option<Steered>,
    /// The model of every lane of the steered model, as an index into `alone`.
    pub lanes: Vec<usize>,
}

impl Subjects {
    /// Loads what a plan needs, each model by itself first.
    pub fn load<E: From<Error>>(plan: &Plan, mut load: impl FnMut(&Plan) -> Result<Steered, E>) -> Result<Self, E> {
        let mut alone: Vec<Alone> = Vec::new();
        for (role, source) in plan.sources() {
            if let Some(known) = alone.iter_mut().find(|known| known.source == *source) {
                known.roles.push(role);
                continue;
            }
            let by_itself = if role == Role::Base { plan.base_alone()? } else { Plan::alone(source.clone()) };
            alone.push(Alone { roles: vec![role], source: source.clone(), steered: load(&by_itself)? });
        }
        let steered = if plan.pairs.is_empty() { None } else { Some(load(plan)?) };
        let facts = plan.check()?;
        let place = |source: &ModelSource| alone.iter().position(|known| known.source == *source).unwrap_or(0);
        let lanes = plan.computed(&facts).into_iter().map(|(source, _)| place(source)).collect();
        Ok(Self { alone, steered, lanes })
    }

    /// Each by itself, then the steered model.
    pub(super) fn all(&self) -> impl Iterator<Item = &Steered> {
        self.alone.iter().map(|alone| &alone.steered).chain(&self.steered)
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
