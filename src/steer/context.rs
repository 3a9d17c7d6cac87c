//! What a lane lives in: a context of llama.cpp, or a server that holds the base.

use std::sync::Arc;
use std::time::Duration;

use super::error::on_server;
use super::{Error, Role};
use crate::llama::context::{Outputs, Part, Timings};
use crate::llama::model::Model;
use crate::llama::{self, context};
use crate::remote;

/// Where texts are decoded.
#[derive(Debug)]
pub(super) enum Context {
    Local(context::Context),
    Remote(Remote),
}

/// Texts on a server, with the small model that spells for it.
#[derive(Debug)]
pub(super) struct Remote {
    pub context: remote::Context,
    pub model: Arc<Model>,
    /// Most tokens of all texts in a step: as many as the small models decode in one.
    pub n_batch: usize,
    timings: Vec<Timings>,
}

/// What keeps a context from doing what it is asked.
#[derive(Debug)]
pub(super) enum Failure {
    Local(llama::Error),
    Remote(remote::Error),
}

impl Failure {
    /// The same with whose lane it is.
    pub fn of(self, role: Role) -> Error {
        match self {
            Self::Local(source) => Error::Lane { role, source },
            Self::Remote(source) => on_server(role)(source),
        }
    }
}

impl From<llama::Error> for Failure {
    fn from(source: llama::Error) -> Self {
        Self::Local(source)
    }
}

impl From<remote::Error> for Failure {
    fn from(source: remote::Error) -> Self {
        Self::Remote(source)
    }
}

impl Remote {
    pub fn new(context: remote::Context, model: Arc<Model>, n_batch: usize) -> Self {
        let timings = vec![Timings::default(); context.n_texts()];
        Self { context, model, n_batch, timings }
    }

    /// Books what a text brought.
    fn book(&mut self, part: &Part<'_>, spent: Duration) {
        let (timings, n) = (&mut self.timings[part.seq], part.tokens.len());
        if part.outputs == Outputs::All {
            (timings.n_decode, timings.t_decode) = (timings.n_decode + n, timings.t_decode + spent);
        } else {
            (timings.n_prompt, timings.t_prompt) = (timings.n_prompt + n, timings.t_prompt + spent);
        }
    }

    fn waited(&self, seq: usize) -> Duration {
        self.context.stats(seq).waited
    }
}

impl Context {
    pub fn local_mut(&mut self) -> Option<&mut context::Context> {
        match self {
            Self::Local(context) => Some(context),
            Self::Remote(_) => None,
        }
    }

    pub fn remote(&self) -> Option<&remote::Context> {
        match self {
            Self::Local(_) => None,
            Self::Remote(remote) => Some(&remote.context),
        }
    }

    /// The model that computes, or spells for the server that does.
    pub fn model(&self) -> &Arc<Model> {
        match self {
            Self::Local(context) => context.model(),
            Self::Remote(remote) => &remote.model,
        }
    }

    pub fn uses_devices(&self) -> bool {
        matches!(self, Self::Local(context) if context.model().uses_devices())
    }

    pub fn can_roll_back(&self) -> bool {
        match self {
            Self::Local(context) => context.model().can_roll_back(),
            Self::Remote(_) => true,
        }
    }

    pub fn n_ctx(&self) -> usize {
        match self {
            Self::Local(context) => context.n_ctx(),
            Self::Remote(remote) => remote.context.n_ctx(),
        }
    }

    pub fn n_batch(&self) -> usize {
        match self {
            Self::Local(context) => context.n_batch(),
            Self::Remote(remote) => remote.n_batch,
        }
    }

    pub fn n_rows_max(&self) -> usize {
        match self {
            Self::Local(context) => context.n_rows_max(),
            Self::Remote(remote) => remote.context.n_rows_max(),
        }
    }

    pub fn n_vocab(&self) -> usize {
        match self {
            Self::Local(context) => context.n_vocab(),
            Self::Remote(remote) => remote.context.n_vocab(),
        }
    }

    pub fn n_cells(&self) -> usize {
        match self {
            Self::Local(context) => context.n_cells(),
            Self::Remote(remote) => remote.context.n_ctx() * remote.context.n_texts(),
        }
    }

    /// Cells that are left where all texts share them. A server's are its own concern.
    pub fn n_shared_left(&self) -> Option<usize> {
        match self {
            Self::Local(context) => context.n_shared_left(),
            Self::Remote(_) => Some(usize::MAX),
        }
    }

    pub fn n_past(&self, seq: usize) -> usize {
        match self {
            Self::Local(context) => context.n_past(seq),
            Self::Remote(remote) => remote.context.n_past(seq),
        }
    }

    pub fn timings(&self, seq: usize) -> Timings {
        match self {
            Self::Local(context) => context.timings(seq),
            Self::Remote(remote) => remote.timings[seq],
        }
    }

    pub fn reset_timings(&mut self, seq: usize) {
        match self {
            Self::Local(context) => context.reset_timings(seq),
            Self::Remote(remote) => {
                remote.timings[seq] = Timings::default();
                remote.context.reset_stats(seq);
            }
        }
    }

    /// What decoding took so far, or was waited for.
    pub fn busy(&self) -> Duration {
        match self {
            Self::Local(context) => context.busy(),
            Self::Remote(remote) => remote.context.busy(),
        }
    }

    /// Refuses what one sequence could never decode next, whoever else decodes with it.
    pub fn check(&self, part: &Part<'_>) -> Result<(), Failure> {
        match self {
            Self::Local(context) => Ok(context.check(part)?),
            Self::Remote(remote) => {
                let (n_rows, _) = part.rows();
                part.tokens.iter().try_for_each(|&token| remote.model.check(token))?;
                Ok(remote.context.check(part.seq, part.tokens.len(), n_rows)?)
            }
        }
    }

    /// Row `i` of the logits that the last decode put out for a sequence.
    pub fn row(&self, seq: usize, i: usize) -> Result<&[f32], Failure> {
        match self {
            Self::Local(context) => Ok(context.row(seq, i)?),
            Self::Remote(remote) => Ok(remote.context.row(seq, i)?.logits()),
        }
    }

    pub fn roll_back(&mut self, seq: usize, n_past: usize) {
        match self {
            Self::Local(context) => context.roll_back(seq, n_past),
            Self::Remote(remote) => remote.context.roll_back(seq, n_past),
        }
    }

    pub fn copy(&mut self, from: usize, to: usize) {
        match self {
            Self::Local(context) => context.copy(from, to),
            Self::Remote(remote) => remote.context.copy(from, to),
        }
    }
}

impl Remote {
    /// Sends what a part asks for.
    pub fn submit(&mut self, part: &Part<'_>) -> Result<(), remote::Error> {
        let (n_rows, first) = part.rows();
        self.context.submit(part.seq, part.tokens, n_rows, first, part.outputs == Outputs::Scored)
    }

    /// Waits for what a part asked for.
    pub fn collect(&mut self, part: &Part<'_>) -> Result<(), remote::Error> {
        let before = self.waited(part.seq);
        self.context.collect(part.seq)?;
        let spent = self.waited(part.seq).saturating_sub(before);
        self.book(part, spent);
        Ok(())
    }

    /// Waits for the token that the server draws for a sequence.
    pub fn collect_drawn(&mut self, seq: usize) -> Result<(), remote::Error> {
        let before = self.waited(seq);
        self.context.collect_drawn(seq)?;
        let spent = self.waited(seq).saturating_sub(before);
        self.timings[seq].t_decode += spent;
        Ok(())
    }
}
