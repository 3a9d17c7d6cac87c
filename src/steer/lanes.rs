//! Lanes in step: each a model under its own view of the prompt, all with the same generated tokens.
//!
//! Lanes of one model with the same adapters are sequences of one context, decoded in one batch.

use super::error::{Error, in_lane};
use super::{Prompts, Role};
use crate::arithmetic::offset::first_non_finite_logit;
use crate::arithmetic::row::Row;
use crate::llama::context::{Context, Outputs, Part, Timings};
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
}

/// The lanes that take part in a step, and how far they are.
#[derive(Debug, Default)]
pub(super) struct Cast {
    pub lanes: Vec<Lane>,
    /// Tokens decoded behind the prompts.
    n_generated: usize,
    /// The position of the answer that row 0 of the last decode predicts.
    first_position: usize,
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

    /// The position of the answer that row `i` of the last decode predicts, from 0.
    pub(super) fn position(&self, i: usize) -> usize {
        self.cast.first_position + i
    }

    /// Gives every lane its prompt; the last token of each puts out a row. What a lane holds already is kept as far
    /// as it is the same, and only the rest is decoded, in pieces. `go_on` is asked before each piece; the answer is
    /// whether all was decoded.
    pub fn prefill(&mut self, prompts: &Prompts, go_on: impl FnMut() -> bool) -> Result<bool, Error> {
        for (lane, prompt) in self.iter().zip(&prompts.0) {
            let (role, n_prompt, n_ctx) = (lane.role(), prompt.len(), lane.n_ctx());
            if n_prompt >= n_ctx {
                return Err(Error::PromptTooLong { role, n_prompt, n_ctx });
            }
        }
        self.fill(prompts, go_on)
    }

    /// [`Self::prefill`] that may fill a lane to its last place.
    pub(super) fn fill(&mut self, prompts: &Prompts, mut go_on: impl FnMut() -> bool) -> Result<bool, Error> {
        if let Some((lane, _)) = self.iter().zip(&prompts.0).find(|(_, prompt)| prompt.is_empty()) {
            return Err(Error::EmptyPrompt { role: lane.role() });
        }
        let cast = &mut self.cast;
        (cast.n_generated, cast.first_position) = (0, 0);
        // Until every lane has its prompt.
        cast.out_of_step = true;
        for (lane, prompt) in cast.lanes.iter_mut().zip(&prompts.0) {
            // All but the last token, which has to put out a row.
            let front = &prompt[..prompt.len() - 1];
            let n_same = lane.held.iter().zip(front).take_while(|(held, new)| held == new).count();
            lane.roll_back(&mut self.contexts[lane.context], n_same);
        }
        for i in 0..self.contexts.len() {
            if !self.prefill_context(i, prompts, &mut go_on)? {
                return Ok(false);
            }
        }
        self.cast.out_of_step = false;
        Ok(true)
    }

    /// Decodes what the lanes of a context lack of their prompts. A context's rows are those of its last decode, so
    /// where it has several lanes, their last tokens come together at the end.
    fn prefill_context(
        &mut self,
        i: usize,
        prompts: &Prompts,
        go_on: &mut impl FnMut() -> bool,
    ) -> Result<bool, Error> {
        let Self { contexts, cast } = self;
        let context = &mut contexts[i];
        let is_alone = cast.lanes.iter().filter(|lane| lane.context == i).count() == 1;
        let of_context = || prompts.0.iter().enumerate().filter(|(n, _)| cast.lanes[*n].context == i);
        let which: Vec<_> = of_context().map(|(n, prompt)| (n, prompt.as_slice())).collect();
        for &(n, prompt) in &which {
            let lane = &mut cast.lanes[n];
            let prompt = if is_alone { prompt } else { &prompt[..prompt.len() - 1] };
            let mut pieces = prompt[lane.held.len()..].chunks(context.n_batch()).peekable();
            while let Some(piece) = pieces.next() {
                if !go_on() {
                    return Ok(false);
                }
                let is_last = is_alone && pieces.peek().is_none();
                let outputs = if is_last { Outputs::Last } else { Outputs::None };
                let part = Part { seq: lane.seq, tokens: piece, outputs };
                let submitted = context.submit(&[part]);
                lane.agree_with(context);
                submitted.map_err(in_lane(lane.role))?;
                context.wait();
                lane.held.extend_from_slice(piece);
            }
        }
        if is_alone || which.is_empty() {
            return Ok(true);
        }
        if !go_on() {
            return Ok(false);
        }
        let last = which.iter().map(|&(n, prompt)| (n, &prompt[prompt.len() - 1..]));
        let parts: Vec<_> =
            last.map(|(n, tokens)| Part { seq: cast.lanes[n].seq, tokens, outputs: Outputs::Last }).collect();
        let submitted = context.submit(&parts);
        for &(n, _) in &which {
            cast.lanes[n].agree_with(context);
        }
        submitted.map_err(in_lane(cast.lanes[which[0].0].role))?;
        context.wait();
        for (n, prompt) in which {
            cast.lanes[n].held.extend(prompt.last());
        }
        Ok(true)
    }

    /// Decodes the same tokens, by the base's ids, on every lane, all rows put out. On an error no lane has moved, or
    /// [`Error::OutOfStep`] follows until the next [`Self::prefill`].
    pub fn decode(&mut self, tokens: &[Token]) -> Result<(), Error> {
        if self.cast.out_of_step {
            return Err(Error::OutOfStep);
        }
        let mapped = |lane: LaneRef<'_>| {
            lane.lane.ids.as_ref().map(|_| {
                let own = |&token: &Token| lane.id(token).ok_or(Error::Lacking { role: lane.role(), token });
                tokens.iter().map(own).collect::<Result<Vec<_>, Error>>()
            })
        };
        let mapped = self.iter().map(|lane| mapped(lane).transpose()).collect::<Result<Vec<_>, Error>>()?;
        let own: Vec<_> = mapped.iter().map(|mapped| mapped.as_deref().unwrap_or(tokens)).collect();
        self.submit(&own)?;
        self.cast.first_position = self.cast.n_generated + 1;
        self.cast.n_generated += tokens.len();
        Ok(())
    }

    /// Decodes tokens on every lane, by its own ids, in one batch for each context. On an error no lane has moved, or
    /// they are out of step.
    fn submit(&mut self, tokens: &[&[Token]]) -> Result<(), Error> {
        let Self { contexts, cast } = self;
        let mut n_submitted = 0;
        let done = contexts.iter_mut().enumerate().try_for_each(|(i, context)| {
            let of_context = || cast.lanes.iter().zip(tokens).filter(|(lane, _)| lane.context == i);
            if let Some((Lane { role, .. }, _)) = of_context().next() {
                let outputs = Outputs::All;
                let parts: Vec<_> =
                    of_context().map(|(lane, tokens)| Part { seq: lane.seq, tokens, outputs }).collect();
                context.submit(&parts).map_err(in_lane(*role))?;
            }
            n_submitted += 1;
            Ok(())
        });
        for (lane, tokens) in cast.lanes.iter_mut().zip(tokens) {
            let context = &mut contexts[lane.context];
            if done.is_ok() {
                context.wait();
                lane.held.extend_from_slice(tokens);
                continue;
            }
            let n_held = lane.held.len();
            if lane.context < n_submitted {
                lane.roll_back(context, n_held);
            } else {
                lane.agree_with(context);
            }
            // It had to forget more than that.
            cast.out_of_step |= lane.held.len() != n_held;
        }
        done
    }

    /// Empties every lane.
    pub fn clear(&mut self) {
        let Self { contexts, cast } = self;
        for lane in &mut cast.lanes {
            lane.roll_back(&mut contexts[lane.context], 0);
        }
        (cast.n_generated, cast.first_position, cast.out_of_step) = (0, 0, false);
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
        self.contexts[lane.context].row(lane.seq, i).map_err(in_lane(lane.role))
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

impl Lane {
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
