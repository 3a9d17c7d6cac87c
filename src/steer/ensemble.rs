//! Models, contexts, lanes and pairs: what texts run on.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::error::{Error, in_lane};
use super::loaded::Loaded;
use super::sequence::{Sampled, Sequence};
use super::topology::Topology;
use super::{Lane, Role};
use crate::llama::Token;
use crate::llama::context::Timings;
use crate::llama::invariance::{self, Invariance};
use crate::llama::model::Model;
use crate::remote;

/// Topology with the contexts that it lives in. [`Self::open`] gives out sequences, [`Self::close`] takes them back.
#[derive(Debug)]
pub struct Ensemble {
    /// Those on devices first: they compute while the CPU does.
    pub(super) contexts: Vec<Context>,
    pub(super) topology: Arc<Topology>,
    /// What they were opened for; it has the same topology.
    pub(super) loaded: Loaded,
    /// Ends of the steered text, then of every lane by itself.
    pub(super) ends: Vec<Ends>,
    /// Texts that nobody has, and how many there are in all.
    pub(super) free: Vec<usize>,
    pub(super) n_texts: usize,
}

/// EOG ids, and ids that must never be sampled.
#[derive(Debug, Default)]
pub struct Ends {
    /// They end a generation for the base or for an expert; sorted.
    pub eog: Vec<Token>,
    /// Tokens of the base that some lane lacks, and that do not end a generation: padding, or special tokens of the base
    /// alone; sorted.
    pub never: Vec<Token>,
}

impl Ends {
    #[must_use]
    pub fn is_eog(&self, token: Token) -> bool {
        self.eog.binary_search(&token).is_ok()
    }

    /// Whether every lane can be told the token.
    #[must_use]
    pub fn can_be_told(&self, token: Token) -> bool {
        self.never.binary_search(&token).is_err()
    }
}

impl Ensemble {
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Its models and lanes, which can be asked for prompts without it.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
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
        self.context(lane).model()
    }

    pub(super) fn context(&self, lane: usize) -> &Context {
        &self.contexts[self.topology.lanes[lane].context]
    }

    /// The first expert's lane that is not the base's.
    #[must_use]
    pub fn expert(&self) -> Option<usize> {
        self.topology.pairs.iter().filter_map(|pair| pair.expert).find(|&lane| Some(lane) != self.lane(Role::Base))
    }

    /// What ends a text that is sampled so.
    pub fn ends(&self, sampled: Sampled) -> Result<&Ends, Error> {
        self.alone(sampled).map(|alone| &self.ends[alone.map_or(0, |lane| lane + 1)])
    }

    /// What ends a sequence's text.
    #[must_use]
    pub fn ends_of(&self, sequence: &Sequence) -> &Ends {
        &self.ends[sequence.alone.map_or(0, |lane| lane + 1)]
    }

    /// The only lane that is in use where a text is sampled so; `None` for all.
    pub(super) fn alone(&self, sampled: Sampled) -> Result<Option<usize>, Error> {
        self.loaded.alone(sampled)
    }

    /// Contexts that the lanes live in: one for each model with its adapters.
    #[must_use]
    pub fn n_contexts(&self) -> usize {
        self.contexts.len()
    }

    /// Tokens that a text can hold on the lane with the least room.
    #[must_use]
    pub fn n_ctx(&self) -> usize {
        self.contexts.iter().map(Context::n_ctx).min().unwrap_or(0)
    }

    /// Tokens that a text can hold on one lane.
    #[must_use]
    pub fn n_ctx_of(&self, lane: usize) -> usize {
        self.context(lane).n_ctx()
    }

    /// Texts that it has room for.
    #[must_use]
    pub fn n_texts(&self) -> usize {
        self.n_texts
    }

    /// Most tokens in one step, all sequences together.
    #[must_use]
    pub fn n_batch(&self) -> usize {
        self.each_lane(Context::n_batch)
    }

    /// Most rows that one step puts out on a lane, all sequences together.
    #[must_use]
    pub fn n_rows_max(&self) -> usize {
        self.each_lane(Context::n_rows_max)
    }

    /// The least of something that the lanes of a context share.
    fn each_lane(&self, share: impl Fn(&Context) -> usize) -> usize {
        let n_lanes = |i: usize| self.lanes().iter().filter(|lane| lane.context == i).count().max(1);
        self.contexts.iter().enumerate().map(|(i, context)| share(context) / n_lanes(i)).min().unwrap_or(1)
    }

    /// Whether some lane computes on a device.
    #[must_use]
    pub fn use_devices(&self) -> bool {
        self.contexts.iter().any(Context::uses_devices)
    }

    /// Whether every lane can take back a part of what it holds.
    #[must_use]
    pub fn can_roll_back(&self) -> bool {
        self.contexts.iter().all(Context::can_roll_back)
    }

    /// Whether a lane's logits depend on how tokens are batched. Refused while there are texts.
    pub fn invariance(&mut self, lane: usize) -> Result<Invariance, Error> {
        if self.free.len() < self.n_texts {
            return Err(Error::InUse);
        }
        let Lane { role, context, .. } = self.topology.lanes[lane];
        let context = self.contexts[context].local_mut().ok_or(Error::NotLocal { role })?;
        invariance::probe(context).map_err(in_lane(role))
    }

    /// What decoding took so far, all lanes and texts together.
    #[must_use]
    pub fn busy(&self) -> Duration {
        self.contexts.iter().map(Context::busy).sum()
    }

    /// What decoding of a lane took so far; of lanes that share a context each has its part.
    #[must_use]
    pub fn busy_on(&self, lane: usize) -> Duration {
        let n_lanes = self.lanes().iter().filter(|other| other.context == self.lanes()[lane].context).count();
        self.context(lane).busy() / n_lanes.max(1) as u32
    }

    /// Tokens that still fit behind a sequence on the lane with the least room, unless others take that where texts share
    /// cells.
    #[must_use]
    pub fn n_left(&self, sequence: &Sequence) -> usize {
        let n_left = |lane: usize| self.n_ctx_of(lane).saturating_sub(sequence.tracks[lane].wanted.len());
        sequence.lanes().map(n_left).min().unwrap_or(0)
    }

    /// Tokens for which there are cells on every lane, all texts together, used or not.
    #[must_use]
    pub fn n_cells(&self) -> usize {
        self.each_lane(Context::n_cells)
    }

    /// Tokens for which the cells that texts share have room on every lane, all texts together.
    #[must_use]
    pub fn n_room(&self) -> usize {
        self.each_lane(|context| context.n_shared_left().unwrap_or(usize::MAX))
    }

    /// What a sequence asked of the server that holds the base, where one does.
    #[must_use]
    pub fn remote_stats(&self, sequence: &Sequence) -> Option<remote::Stats> {
        let lane = self.lane(Role::Base).filter(|lane| sequence.lanes().contains(lane))?;
        Some(*self.context(lane).remote()?.stats(sequence.tracks[lane].seq))
    }

    /// The server that holds the base, where one does.
    #[must_use]
    pub fn server(&self) -> Option<&Arc<remote::Server>> {
        self.loaded.server()
    }

    /// Where a sequence's time on a lane went since its prompt was given.
    #[must_use]
    pub fn timings(&self, sequence: &Sequence, lane: usize) -> Timings {
        self.context(lane).timings(sequence.tracks[lane].seq)
    }

    /// Breaks decodes off where `breaks`, told a role and sequences of its context, says so; for tests.
    #[doc(hidden)]
    pub fn break_where(&mut self, breaks: impl Fn(Role, &[usize]) -> bool + Send + Sync + 'static) {
        let breaks = Arc::new(breaks);
        for (i, context) in self.contexts.iter_mut().enumerate() {
            let Some(context) = context.local_mut() else { continue };
            let role = self.topology.lanes.iter().find(|lane| lane.context == i).map_or(Role::Base, |lane| lane.role);
            let breaks = breaks.clone();
            context.break_where(move |seqs| breaks(role, seqs));
        }
    }
}
