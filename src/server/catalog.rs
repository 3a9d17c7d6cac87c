//! Model ids: what a request may name.
//!
//! Every recipe is a model. `NAME:base` and `NAME:expert` are its base and its first expert by themselves, to compare with.

use super::error::{Error, ErrorKind};
use crate::generate::Draft;
use crate::sampling::Sampling;
use crate::steer::{Role, Sampled};

/// A recipe as it is served.
#[derive(Debug, Clone)]
pub struct Served {
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// Which of the engine's ensembles it is.
    pub ensemble: usize,
    /// The same with classifier-free guidance: one more pair, behind the others.
    pub guided: usize,
    /// Names of the pairs, in order.
    pub pairs: Vec<String>,
    /// Whether the first pair has an expert that is not the base.
    pub has_expert: bool,
    pub defaults: Defaults,
}

/// What holds where a request says nothing.
#[derive(Debug, Clone)]
pub struct Defaults {
    pub sampling: Sampling,
    pub n_predict: Option<usize>,
    pub stop: Vec<String>,
    pub draft: Draft,
    pub system: Option<String>,
    /// Something to try it with.
    pub example_prompt: Option<String>,
}

/// One of the ids: a recipe, and what of it is sampled.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    pub served: &'a Served,
    pub sampled: Sampled,
}

impl<'a> Model<'a> {
    /// The id by which it is listed.
    #[must_use]
    pub fn id(self) -> String {
        self.called(&self.served.name)
    }

    /// Every id that it has.
    fn names(self) -> impl Iterator<Item = String> + 'a {
        let served = self.served;
        std::iter::once(&served.name).chain(&served.aliases).map(move |name| self.called(name))
    }

    fn called(self, name: &str) -> String {
        match self.sampled {
            Sampled::Steered => name.to_owned(),
            Sampled::Alone(role) => format!("{name}:{role}"),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Catalog(Vec<Served>);

impl Catalog {
    /// `served` has one recipe at least.
    #[must_use]
    pub fn new(served: Vec<Served>) -> Self {
        Self(served)
    }

    #[must_use]
    pub fn served(&self) -> &[Served] {
        &self.0
    }

    /// Every id, the first recipe's first.
    pub fn models(&self) -> impl Iterator<Item = Model<'_>> {
        self.0.iter().flat_map(|served| {
            let alone = [Role::Base, Role::Expert(0)]
                .into_iter()
                .filter(|role| !served.pairs.is_empty() && (*role == Role::Base || served.has_expert));
            std::iter::once(Sampled::Steered)
                .chain(alone.map(Sampled::Alone))
                .map(move |sampled| Model { served, sampled })
        })
    }

    /// The model of an id; without one the first.
    pub fn find(&self, id: Option<&str>) -> Result<Model<'_>, Error> {
        let id = id.unwrap_or_default();
        let is_it = |model: &Model<'_>| id.is_empty() || model.names().any(|name| name == id);
        self.models().find(is_it).ok_or_else(|| {
            let known: Vec<_> = self.models().flat_map(Model::names).collect();
            Error::new(ErrorKind::NoSuchModel, format!("there is no model {id:?}, only {}", known.join(", ")))
        })
    }
}
