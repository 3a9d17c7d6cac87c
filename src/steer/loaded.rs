//! A plan whose files are loaded, before contexts are opened for them.

use std::sync::Arc;

use super::error::Error;
use super::models::Source;
use super::plan::Texts;
use super::sequence::Sampled;
use super::topology::Topology;
use super::{Lane, Role};
use crate::llama::model::Model;
use crate::plain::plain;
use crate::remote::Server;

/// A plan's models and the lanes that they make up: enough to say what each lane is given of a conversation.
/// [`Self::open`] opens the contexts. A clone shares the models.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub(super) topology: Arc<Topology>,
    /// What each context is opened for: those on devices first, since they compute while the CPU does.
    pub(super) sources: Vec<Source>,
    pub(super) texts: Texts,
}

impl Loaded {
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    #[must_use]
    pub fn lanes(&self) -> &[Lane] {
        self.topology.lanes()
    }

    /// A role's lane; several roles may have one together.
    #[must_use]
    pub fn lane(&self, role: Role) -> Option<usize> {
        self.topology.lane(role)
    }

    #[must_use]
    pub fn model(&self, lane: usize) -> &Arc<Model> {
        &self.sources[self.topology.lanes[lane].context].model
    }

    /// What a lane is called: its model's file, or what its server calls the model, and where that is.
    #[must_use]
    pub fn name(&self, lane: usize) -> String {
        let source = &self.sources[self.topology.lanes[lane].context];
        match &source.server {
            None => source.model.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Some(server) => {
                let offer = server.offer();
                format!("{} at {}", plain(file_name(&offer.model)), offer.url)
            }
        }
    }

    /// Parameters and bytes of a lane's model; a server does not say.
    #[must_use]
    pub fn size(&self, lane: usize) -> Option<(u64, u64)> {
        let source = &self.sources[self.topology.lanes[lane].context];
        source.server.is_none().then(|| (source.model.n_params(), source.model.n_bytes()))
    }

    /// The server that holds the base, where one does.
    #[must_use]
    pub fn server(&self) -> Option<&Arc<Server>> {
        let base = self.lane(Role::Base)?;
        self.sources[self.topology.lanes[base].context].server.as_ref()
    }

    /// The same where that is what a role computes with.
    #[must_use]
    pub fn server_of(&self, role: Role) -> Option<&Arc<Server>> {
        self.server().filter(|_| self.lane(role) == self.lane(Role::Base))
    }

    /// The models, each once, in no particular order.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        let models = self.sources.iter().map(|source| &source.model);
        let is_first = |(i, model): &(usize, &Arc<Model>)| {
            !self.sources[..*i].iter().any(|earlier| Arc::ptr_eq(&earlier.model, model))
        };
        models.enumerate().filter(is_first).map(|(_, model)| model)
    }

    /// Tokens that a text can hold on the lane with the least room.
    #[must_use]
    pub fn n_ctx(&self) -> usize {
        self.sources.iter().map(|source| source.params.n_ctx).min().unwrap_or(0)
    }

    /// The same with contexts for texts of so many tokens.
    #[must_use]
    pub fn with_n_ctx(mut self, n_ctx: usize) -> Self {
        self.sources.iter_mut().for_each(|source| source.params.n_ctx = n_ctx);
        self
    }

    /// The only lane that is in use where a text is sampled so; `None` for all.
    pub(super) fn alone(&self, sampled: Sampled) -> Result<Option<usize>, Error> {
        match sampled {
            Sampled::Steered => Ok(None),
            Sampled::Alone(role) => self.lane(role).map(Some).ok_or(Error::NoLane { role }),
        }
    }
}

/// A server may call a model by its path there.
fn file_name(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}
