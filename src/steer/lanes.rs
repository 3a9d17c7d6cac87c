//! Lanes in step: each a model under its own view of the prompt, all with the same generated tokens.
//!
//! Lanes of one model with the same adapters are sequences of one context, decoded in one batch.

mod chances;
mod costs;
mod prefill;
mod step;

pub use chances::{Chances, Sign};
pub use costs::{Costs, Step};

use chances::ByDraw;

use super::error::{Error, in_lane};
use super::{Prompts, Role};
use crate::arithmetic::offset::first_non_finite_logit;
use crate::arithmetic::row::Row;
use crate::llama::context::{Context, Timings};
use crate::llama::guess::Draw;
use crate::llama::invariance::{self, Invariance};
use crate::llama::model::Model;
use crate::llama::{self, Token};
use crate::prompt::{self, Conversation, Piece};
use crate::vocab::IdMap;

/// One lane: a sequence of a context, what it sees, and what it holds.
#[derive(Debug)]
pub(super) struct Lane {
    pub role: Role,
    /// Index into [`Lanes::contexts`], and the sequence there.
    pub context: usize,
    pub seq: usize,
    pub view: prompt::View,
    /// How its ids follow from the base's, where they are not the same.
    pub ids: Option<IdMap>,
    /// The tokens in its cache, by its own ids.
    pub held: Vec<Token>,
    /// Tokens of the running step that it has still to decode, by its own ids.
    fresh: Vec<Token>,
    ahead: Ahead,
}

/// What a lane decoded before the others: guesses, on which the next ones depend.
#[derive(Debug, Default)]
struct Ahead {
    n: usize,
    /// `n` rows, since a context keeps those of its last decode only.
    rows: Vec<f32>,
    /// The other lanes have followed.
    is_settled: bool,
}

/// The lanes that take part in a step, and how far they are.
#[derive(Debug, Default)]
pub(super) struct Cast {
    pub lanes: Vec<Lane>,
    /// Tokens decoded behind the prompts.
    n_generated: usize,
    /// The position of the answer that row 0 of the last decode predicts, and how many rows it put out.
    first_position: usize,
    n_rows: usize,
    costs: Costs,
    chances: ByDraw,
    /// A lane lost its place and could not be rolled back, or has not all of its prompt.
    out_of_step: bool,
}

impl Cast {
    pub fn of(lanes: Vec<Lane>) -> Self {
        Self { lanes, ..Self::default() }
    }
}

/// Lanes with the contexts that they live in.
#[derive(Debug, Default)]
pub struct Lanes {
    /// Those on devices first: they compute while the CPU does.
    pub(super) contexts: Vec<Context>,
    pub(super) cast: Cast,
}

/// A lane to look at.
#[derive(Debug, Clone, Copy)]
pub struct LaneRef<'a> {
    lane: &'a Lane,
    context: &'a Context,
}

impl<'a> LaneRef<'a> {
    #[must_use]
    pub fn role(&self) -> Role {
        self.lane.role
    }

    #[must_use]
    pub fn model(&self) -> &'a std::sync::Arc<Model> {
        self.context.model()
    }

    /// How it sees a conversation.
    #[must_use]
    pub fn view(&self) -> &'a prompt::View {
        &self.lane.view
    }

    /// Tokens that the lane can hold.
    #[must_use]
    pub fn n_ctx(&self) -> usize {
        self.context.n_ctx()
    }

    /// Tokens that it holds.
    #[must_use]
    pub fn n_past(&self) -> usize {
        self.context.n_past(self.lane.seq)
    }

    #[must_use]
    pub fn timings(&self) -> Timings {
        self.context.timings(self.lane.seq)
    }

    /// The lane's id of the base's `token`.
    pub(super) fn id(&self, token: Token) -> Option<Token> {
        match &self.lane.ids {
            None => Some(token).filter(|&token| (token as usize) < self.context.n_vocab()),
            Some(ids) => ids.other(token as usize).map(|id| id as Token),
        }
    }

    /// What the lane is given of a conversation.
    fn prompt(&self, conversation: &Conversation) -> Result<Vec<Token>, Error> {
        let role = self.lane.role;
        let mut pieces = self.lane.view.render(conversation).map_err(|source| Error::Prompt { role, source })?;
        for piece in &mut pieces {
            if let Piece::Tokens(tokens) = piece {
                for token in tokens {
                    *token = self.id(*token).ok_or(Error::Lacking { role, token: *token })?;
                }
            }
        }
        self.model().tokenize_pieces(&pieces).map_err(in_lane(role))
    }
}

impl Lanes {
    /// Every lane, in order; in a steered model the base's first.
    pub fn iter(&self) -> impl Iterator<Item = LaneRef<'_>> {
        self.cast.lanes.iter().map(|lane| LaneRef { lane, context: &self.contexts[lane.context] })
    }

    pub(super) fn get(&self, lane: usize) -> LaneRef<'_> {
        let lane = &self.cast.lanes[lane];
        LaneRef { lane, context: &self.contexts[lane.context] }
    }

    /// What every lane is given of a conversation.
    pub fn prompts(&self, conversation: &Conversation) -> Result<Prompts, Error> {
        self.iter().map(|lane| lane.prompt(conversation)).collect::<Result<_, _>>().map(Prompts)
    }

    /// The same tokens, by the base's ids, for every lane.
    pub fn same(&self, tokens: &[Token]) -> Result<Prompts, Error> {
        let own = |lane: LaneRef<'_>| {
            let id = |&token| lane.id(token).ok_or(Error::Lacking { role: lane.role(), token });
            tokens.iter().map(id).collect::<Result<Vec<_>, _>>()
        };
        self.iter().map(own).collect::<Result<_, _>>().map(Prompts)
    }

    /// Contexts that the lanes live in: one for each model with its adapters.
    #[must_use]
    pub fn n_contexts(&self) -> usize {
        self.contexts.len()
    }

    /// Tokens that still fit into the fullest lane.
    #[must_use]
    pub fn n_left(&self) -> usize {
        let n_left = |lane: &Lane| self.contexts[lane.context].n_left(lane.seq);
        self.cast.lanes.iter().map(n_left).min().unwrap_or(0)
    }

    /// Most tokens in one [`Self::decode`].
    #[must_use]
    pub fn n_rows_max(&self) -> usize {
        self.contexts.iter().map(Context::n_outputs_max).min().unwrap_or(1)
    }

    /// Whether some lane computes on a device.
    #[must_use]
    pub fn use_devices(&self) -> bool {
        self.contexts.iter().any(|context| context.model().uses_devices())
    }

    /// Whether every lane can take back a part of what it holds.
    #[must_use]
    pub fn can_roll_back(&self) -> bool {
        self.contexts.iter().all(|context| context.model().can_roll_back())
    }

    /// What decoding was measured to cost.
    #[must_use]
    pub fn costs(&self) -> &Costs {
        &self.cast.costs
    }

    /// What was seen to become of guesses.
    #[must_use]
    pub fn chances(&self, draw: Draw) -> &Chances {
        self.cast.chances.of(draw)
    }

    /// The same, to be taught.
    pub fn chances_mut(&mut self, draw: Draw) -> &mut Chances {
        self.cast.chances.of_mut(draw)
    }

    /// The position of the answer that row `i` of the last decode predicts, from 0.
    pub(super) fn position(&self, i: usize) -> usize {
        self.cast.first_position + i
    }

    /// Empties every lane.
    pub fn clear(&mut self) {
        let Self { contexts, cast } = self;
        for lane in &mut cast.lanes {
            lane.roll_back(&mut contexts[lane.context], 0);
        }
        (cast.n_generated, cast.first_position, cast.n_rows, cast.out_of_step) = (0, 0, 0, false);
    }

    /// Whether the logits of the first context depend on how tokens are batched. The lanes are empty afterwards.
    pub fn invariance(&mut self) -> Result<Invariance, Error> {
        self.clear();
        let role = self.cast.lanes.iter().find(|lane| lane.context == 0).map_or(Role::Base, |lane| lane.role);
        self.contexts.first_mut().map_or(Ok(Invariance::default()), invariance::probe).map_err(in_lane(role))
    }

    pub fn reset_timings(&mut self) {
        self.contexts.iter_mut().for_each(Context::reset_timings);
    }

    /// Row `i` of a lane's last decode, by the base's ids.
    pub(super) fn row(&self, lane: usize, i: usize) -> Result<Row<'_>, Error> {
        let ids = self.cast.lanes[lane].ids.as_ref();
        self.logits(lane, i).map(|logits| ids.map_or(logits.into(), |ids| Row::mapped(logits, ids.as_slice())))
    }

    /// Row `i` of a lane's last decode, by its own ids.
    pub(super) fn logits(&self, lane: usize, i: usize) -> Result<&[f32], Error> {
        let lane = &self.cast.lanes[lane];
        let context = &self.contexts[lane.context];
        match i.checked_sub(lane.ahead.n) {
            Some(i) => context.row(lane.seq, i).map_err(in_lane(lane.role)),
            None => Ok(&lane.ahead.rows[i * context.n_vocab()..][..context.n_vocab()]),
        }
    }

    /// Row `i` of every lane, by the base's ids.
    pub fn rows(&self, i: usize) -> impl Iterator<Item = Result<(Role, Row<'_>), Error>> {
        let role = |lane: usize| self.cast.lanes[lane].role;
        (0..self.cast.lanes.len()).map(move |lane| self.row(lane, i).map(|row| (role(lane), row)))
    }

    /// Refuses a row `i` in which any lane has a logit that is not finite.
    pub fn check_finite(&self, i: usize) -> Result<(), Error> {
        for (lane, Lane { role, .. }) in self.cast.lanes.iter().enumerate() {
            let row = self.logits(lane, i)?;
            if let Some(id) = first_non_finite_logit(row) {
                return Err(in_lane(*role)(llama::Error::NotFinite { id, value: row[id] }));
            }
        }
        Ok(())
    }
}

impl Ahead {
    /// Some lane decoded what the others have not.
    fn is_open(&self) -> bool {
        self.n > 0 && !self.is_settled
    }

    fn forget(&mut self) {
        (self.n, self.is_settled) = (0, false);
        self.rows.clear();
    }
}

impl Lane {
    pub(super) fn new(role: Role, context: usize, seq: usize, view: prompt::View, ids: Option<IdMap>) -> Self {
        Self { role, context, seq, view, ids, held: Vec::new(), fresh: Vec::new(), ahead: Ahead::default() }
    }

    /// Forgets everything behind the first `n` tokens, or all where the model cannot forget a part.
    pub(super) fn roll_back(&mut self, context: &mut Context, n: usize) {
        context.roll_back(self.seq, n);
        self.agree_with(context);
    }

    /// Holds no more than the cache does.
    fn agree_with(&mut self, context: &Context) {
        self.held.truncate(context.n_past(self.seq));
    }
}
