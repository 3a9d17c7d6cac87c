//! From a prompt to an end: a state machine that is told of rows and tells of tokens.

mod end;
mod on_server;
mod steer;

use std::sync::Arc;

use super::ahead::Ahead;
use super::begun::Hearers;
use super::draft::{Drafting, MAX_STEP, Policy, Share};
use super::event::{Event, Finish, Generated, RolePrompt, Started, StopReason};
use super::form::Asked;
use super::probs::Position;
use super::request::Request;
use super::scoring::Scoring;
use super::served::Served;
use super::text::TextStream;
use crate::llama::chain::{Bounds, Chain};
use crate::llama::context::Outputs;
use crate::llama::draft_chain::Draw;
use crate::llama::{self, Token};
use crate::remote::Row;
use crate::steer::error::in_lane;
use crate::steer::{Ensemble, Error, Idle, Prompts, Role, Sampled, Sequence, ServerDraw, Weights, Work};

/// One generation. [`Self::start`] gives it a sequence; then, in every round, [`Self::want`], [`Self::draft`] for as long as
/// [`Self::ahead`] names a lane, a step, and [`Self::take`], until that says that it has ended.
pub struct Task {
    sampled: Sampled,
    prompts: Prompts,
    /// By positions of the whole answer, of which the first `n_begun` tokens are a part of the prompts.
    weights: Weights,
    n_begun: usize,
    /// The weights are other ones than was told.
    is_steered: bool,
    chain: Chain,
    text: TextStream,
    asked: Asked,
    drafting: Drafting,
    notes: Vec<String>,
    n_left: usize,
    n_probs: Option<usize>,
    divergence: bool,
    plausibility: f32,
    /// While the tokens of the prompts are looked at, as far as that is asked for.
    scoring: Option<Scoring>,
    sequence: Option<Sequence>,
    /// The prompts are read.
    is_writing: bool,
    /// The token that was chosen last, unless the sequence has it already.
    pending: Option<Token>,
    /// Positions of the answer whose token is chosen.
    n_chosen: usize,
    /// Tokens per lane in the next step.
    n_wanted: usize,
    piece: Vec<u8>,
    composed: Vec<f32>,
    /// What the base's server does not show, and how it draws where it does.
    served: Served,
    draw: Option<Arc<ServerDraw>>,
}

/// Most tokens of an answer that are read in one step: so many have the logits that they would have one by one, bit by bit,
/// where kernels allow it. ggml's attention adds up in another order from 64 on.
const N_AGAIN: usize = 32;

/// What a task has come to in a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Tokens that were chosen.
    pub n_tokens: usize,
    /// A model was to draft, and how many drafts there were from anywhere.
    pub by_model: bool,
    pub n_drafted: usize,
    pub has_ended: bool,
}

impl Task {
    /// Checks a request and tokenises its prompts. Nothing is decoded.
    pub fn new(ensemble: &Ensemble, request: &Request) -> Result<Self, Error> {
        Self::with(ensemble, request, request.prompts(ensemble.loaded())?)
    }

    /// The same with prompts that are tokenised already.
    pub fn with(ensemble: &Ensemble, request: &Request, prompts: Prompts) -> Result<Self, Error> {
        let sampled = request.sampled;
        let lane = if let Sampled::Alone(role) = sampled { ensemble.lane(role) } else { None }.unwrap_or(0);
        request.validate(ensemble.model(lane).n_vocab())?;
        ensemble.check_room(&prompts, sampled)?;
        let scoring = request.prompt_probs.map(|n| Scoring::new(ensemble, sampled, &prompts, n)).transpose()?;
        let weights = ensemble.topology().weights(&request.weights)?;
        let ends = ensemble.ends(sampled)?;
        let mut asked = Asked::new(ensemble, request, lane, ends)?;
        let ignored: &[Token] = if request.sampling.ignore_eos { &ends.eog } else { &[] };
        let never: Vec<_> = ignored.iter().chain(&ends.never).copied().collect();
        let bounds =
            Bounds { n_ctx: ensemble.n_ctx_of(lane), eog: &ends.eog, never: &never, form: asked.form.as_ref() };
        let mut chain = Chain::new(ensemble.model(lane), &request.sampling, &bounds).map_err(Error::Chain)?;
        let server_draw = on_server::draw(ensemble, request, &weights, asked.form.is_some(), &never)?;
        let n_begun = request.begin.len();
        let n_prompt = prompts.sampled().len().saturating_sub(n_begun);
        chain.accept_prompt(&prompts.sampled()[..n_prompt]).map_err(Error::Chain)?;
        let mut text = TextStream::new(&request.stop);
        let mut hearers = Hearers { chain: &mut chain, text: &mut text, asked: &mut asked };
        hearers.begin(ensemble, lane, ends, &request.begin)?;
        let draw = if request.sampling.temp > 0.0 { Draw::Alike } else { Draw::Likeliest };
        let drafting = Drafting::new(&request.draft, draw, ensemble, sampled, prompts.sampled());
        let mut notes: Vec<_> = request.draft.note(ensemble).into_iter().collect();
        notes.extend(on_server::note(ensemble, request));
        notes.extend_from_slice(chain.notes());
        Ok(Self {
            sampled,
            prompts,
            weights,
            n_begun,
            is_steered: false,
            chain,
            text,
            asked,
            drafting,
            notes,
            n_left: request.n_predict.unwrap_or(usize::MAX),
            n_probs: request.n_probs,
            divergence: request.divergence,
            plausibility: request.sampling.plausibility,
            scoring,
            sequence: None,
            is_writing: false,
            pending: None,
            n_chosen: 0,
            n_wanted: 0,
            piece: Vec::new(),
            composed: Vec::new(),
            served: Served::default(),
            draw: server_draw,
        })
    }

    /// What every lane is given to continue.
    #[must_use]
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    #[must_use]
    pub fn sampled(&self) -> Sampled {
        self.sampled
    }

    /// A sequence for it: what an idle one holds serves a prompt that is not scored.
    pub fn sequence_from(&self, idle: &mut Idle, ensemble: &mut Ensemble) -> Result<Sequence, Error> {
        match self.scoring {
            None => idle.sequence_for(ensemble, &self.prompts),
            Some(_) => idle.any_sequence(ensemble),
        }
    }

    /// Gives the task a sequence: what its lanes hold of the prompts already is not read again.
    pub fn start(
        &mut self,
        ensemble: &mut Ensemble,
        mut sequence: Sequence,
        events: &mut Vec<Event>,
    ) -> Result<(), Error> {
        *sequence.weights_mut() = self.weights_ahead();
        if let Some(draw) = &self.draw {
            sequence.draw_with(draw.clone());
        }
        let begun = match &self.scoring {
            None => ensemble.begin(&mut sequence, self.sampled, &self.prompts),
            Some(_) => Scoring::begin(ensemble, &mut sequence, self.sampled, &self.prompts, &self.weights),
        };
        self.sequence = Some(sequence);
        begun?;
        let roles = self.roles(ensemble);
        let prompt = |role: Role| {
            let lane = ensemble.lane(role).unwrap_or(0);
            let n_cached = self.sequence.as_ref().map_or(0, |sequence| sequence.n_held(lane));
            RolePrompt { role, tokens: self.prompts.lane(lane).to_vec(), n_cached }
        };
        events.push(Event::Started(Started {
            prompts: roles.into_iter().map(prompt).collect(),
            n_prompt: self.prompts.n_tokens(),
            n_cached: self.n_held(),
            notes: self.notes.clone(),
            calls: self.asked.calls.clone(),
        }));
        Ok(())
    }

    /// The roles that take part.
    fn roles(&self, ensemble: &Ensemble) -> Vec<Role> {
        match self.sampled {
            Sampled::Steered => ensemble.topology().roles().collect(),
            Sampled::Alone(role) => vec![role],
        }
    }

    /// Tokens that its lanes hold.
    fn n_held(&self) -> usize {
        self.sequence.as_ref().map_or(0, |sequence| sequence.lanes().map(|lane| sequence.n_held(lane)).sum())
    }

    /// Takes the sequence away.
    pub fn release(&mut self) -> Option<Sequence> {
        self.sequence.take()
    }

    #[must_use]
    pub fn sequence(&self) -> Option<&Sequence> {
        self.sequence.as_ref()
    }

    /// Whether its prompts are read, so that it brings a token or more to every round.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.is_writing
    }

    /// Tokens per lane that it brings to the next step.
    #[must_use]
    pub fn n_wanted(&self) -> usize {
        self.n_wanted
    }

    /// Whether it looks at the tokens of its prompts, which then need a row each.
    #[must_use]
    pub fn is_scoring(&self) -> bool {
        self.scoring.is_some()
    }

    /// Rows that it puts out in the next step, or may.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        // A prompt that is only read puts out a row at its end.
        if self.is_writing || self.is_scoring() { self.n_wanted.max(1) } else { 1 }
    }

    /// Begins a round: of the prompts `share.n_max` tokens for each lane; else the token that was chosen last, with what the
    /// text itself suggests to follow, or the wish that a model drafts.
    pub fn want(&mut self, ensemble: &mut Ensemble, policy: &Policy, share: Share) -> Result<(), Error> {
        let Some(sequence) = &mut self.sequence else { return Ok(()) };
        if !self.is_writing {
            match self.scoring {
                Some(_) => ensemble.level(sequence),
                None => ensemble.arrive_together(sequence),
            }
            let n_missing = sequence.n_missing();
            let misses_answer = self.n_chosen > 0 && n_missing <= sequence.n_generated();
            self.n_wanted = n_missing.min(share.n_max).min(if misses_answer { N_AGAIN } else { n_missing });
            return Ok(());
        }
        let Some(chosen) = self.pending.take() else { return Ok(()) };
        ensemble.push(sequence, chosen)?;
        if self.n_probs.is_none() {
            let positions = self.n_chosen..self.n_chosen + MAX_STEP;
            ensemble.rest(sequence, positions, self.drafting.lane());
        }
        let n_room = ensemble.n_left(sequence) + 1;
        let n_max = share.n_max.min(self.n_left).min(n_room);
        let mut text = Ahead::of(ensemble.model(sequence.sampled()), &self.text, &[], &mut self.piece);
        let ends = ensemble.ends_of(sequence);
        let share = Share { n_max, ..share };
        self.drafting.begin(
            &self.chain,
            chosen,
            policy,
            share,
            |token| ends.is_eog(token) || text.ends(token),
            |token| ends.can_be_told(token),
        );
        for &token in self.drafting.drafts() {
            ensemble.push(sequence, token)?;
        }
        self.n_wanted = sequence.n_missing();
        self.read_again_if_lost(ensemble);
        Ok(())
    }

    /// Where a lane lacks more than the round brings, it lost what it held or has rested: that is read before the text goes on.
    fn read_again_if_lost(&mut self, ensemble: &mut Ensemble) -> bool {
        let Some(sequence) = &mut self.sequence else { return false };
        let is_lost = self.is_writing && sequence.n_missing() > 1 + self.drafting.drafts().len();
        if is_lost {
            ensemble.take_back(sequence, self.drafting.drafts().len());
            self.drafting.drop_all();
            self.is_writing = false;
            self.n_wanted = sequence.n_missing().min(N_AGAIN);
        }
        is_lost
    }

    /// The lane that decodes ahead of the others, if the task waits for a draft of it.
    #[must_use]
    pub fn ahead(&self) -> Option<usize> {
        self.drafting.awaits()
    }

    /// Whether the lengths of its drafts follow from what steps were measured to cost.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.drafting.is_timed()
    }

    /// Whether a part of its text is read in the middle of the answer: by a lane that has rested, or lost what it held.
    #[must_use]
    pub fn is_catching_up(&self) -> bool {
        !self.is_writing && self.n_chosen > 0
    }

    /// The lane whose model was to draft in the running round.
    #[must_use]
    pub fn drafter(&self) -> Option<usize> {
        self.drafting.drafter()
    }

    /// Looks at what the lane that decoded ahead put out: it may draft a token, and await the row behind it.
    pub fn draft(&mut self, ensemble: &Ensemble, policy: &Policy, share: Share) -> Result<(), Error> {
        let (Some(sequence), Some(lane)) = (self.sequence.as_mut(), self.drafting.awaits()) else { return Ok(()) };
        let n_max =
            share.n_max.min(self.n_left).min(ensemble.n_left(sequence) + sequence.n_generated() - self.n_chosen + 1);
        let drafted = {
            let row = ensemble.lane_row(sequence, lane, sequence.n_generated())?;
            let model = ensemble.model(sequence.sampled());
            let mut text = Ahead::of(model, &self.text, self.drafting.drafts(), &mut self.piece);
            let ends = ensemble.ends_of(sequence);
            let share = Share { n_max, ..share };
            self.drafting.look(row, policy, share, |token| ends.is_eog(token) || text.ends(token))
        };
        if let Some(token) = drafted
            && ensemble.push(sequence, token).is_err()
        {
            self.drafting.drop_last();
        }
        self.n_wanted = sequence.n_missing();
        Ok(())
    }

    /// Gives up what is drafted: nobody will look at a row behind the first.
    pub fn drop_drafts(&mut self, ensemble: &mut Ensemble) {
        let Some(sequence) = &mut self.sequence else { return };
        ensemble.take_back(sequence, self.drafting.drafts().len());
        self.drafting.drop_all();
        self.n_wanted = sequence.n_missing();
        self.read_again_if_lost(ensemble);
    }

    /// What it brings to a round in which one lane decodes ahead.
    pub fn ahead_work(&mut self) -> Option<Work<'_>> {
        let lane = self.drafting.awaits();
        let sequence = self.sequence.as_mut()?;
        lane.map(|lane| Work { sequence, n_tokens: 1, outputs: Outputs::All, ahead: Some(lane) })
    }

    /// What it brings to the step.
    pub fn work(&mut self) -> Option<Work<'_>> {
        let outputs = match (self.is_writing, &self.scoring) {
            (true, _) => Outputs::All,
            (false, Some(_)) => Outputs::Scored,
            (false, None) => Outputs::Last,
        };
        let n_tokens = self.n_wanted;
        let sequence = self.sequence.as_mut()?;
        (n_tokens > 0).then_some(Work { sequence, n_tokens, outputs, ahead: None })
    }

    /// Takes the rows of a step: draws from one after the other, for as long as the drafts are what is drawn.
    pub fn take(
        &mut self,
        ensemble: &mut Ensemble,
        policy: &mut Policy,
        events: &mut Vec<Event>,
    ) -> Result<Taken, Error> {
        let Some(sequence) = &self.sequence else { return Ok(Taken::default()) };
        if self.is_writing && sequence.n_missing() > 0 {
            // A lane lost what it held in the step.
            self.drop_drafts(ensemble);
            self.is_writing = false;
            return Ok(Taken::default());
        }
        if !self.is_writing {
            if self.n_chosen == 0 && self.n_wanted > 0 {
                events.push(Event::Read { n: self.n_held() });
            }
            self.score(ensemble, events)?;
            if self.sequence.as_ref().is_none_or(|sequence| sequence.n_missing() > 0) {
                return Ok(Taken::default());
            }
            self.is_writing = true;
            if self.n_left == 0 {
                self.finish(Finish::Length, None, ensemble, events);
                return Ok(Taken { has_ended: true, ..Taken::default() });
            }
        }
        let n_drafted = self.drafting.drafts().len();
        let by_model = self.drafting.drafter().is_some();
        let mut taken = Taken { by_model, n_drafted, ..Taken::default() };
        let n_before = self.n_chosen;
        self.tell_steering(events);
        let (next, end) = loop {
            let Some((token, position)) = self.choose(ensemble)? else {
                break (None, Some((Finish::Stop, Some(StopReason::Grammar))));
            };
            let text = self.append(token, ensemble)?;
            let place = self.n_chosen - n_before;
            self.n_left -= 1;
            self.n_chosen += 1;
            taken.n_tokens += 1;
            self.asked.hear(&text);
            events.push(Event::Token(Generated { token, text, place, position }));
            let draft = self.drafting.drafts().get(self.n_chosen - n_before - 1).copied();
            let end = self.end_with(token, ensemble, n_before);
            if end.is_some() || draft != Some(token) {
                break (Some(token), end);
            }
        };
        // All drafts that were drawn but the last token, whose row nobody has asked for.
        let n_accept = match next {
            Some(_) => self.n_chosen - n_before - 1,
            None => self.n_chosen - n_before,
        };
        self.settle(ensemble, policy, n_accept, next);
        // Until the next round begins it counts for the one token that it is going to bring.
        self.n_wanted = 1;
        match end {
            None => self.pending = next,
            Some((finish, stopped_by)) => {
                taken.has_ended = true;
                self.finish(finish, stopped_by, ensemble, events);
            }
        }
        Ok(taken)
    }

    /// Looks at the tokens of the prompts that were read, if that is asked for.
    fn score(&mut self, ensemble: &Ensemble, events: &mut Vec<Event>) -> Result<(), Error> {
        let (Some(scoring), Some(sequence)) = (&mut self.scoring, &mut self.sequence) else { return Ok(()) };
        let prompt = self.prompts.sampled();
        let positions = scoring.take(ensemble, sequence, prompt, self.plausibility, &mut self.composed)?;
        if !positions.is_empty() {
            events.push(Event::Prompt(positions));
        }
        // Until the next round begins it counts for one row.
        self.n_wanted = 0;
        if sequence.n_missing() == 0 {
            self.scoring = None;
            let weights = self.weights.behind(self.n_begun);
            Scoring::end(ensemble, sequence, &weights);
        }
        Ok(())
    }

    /// What was drafted behind the last row that was looked at leaves the lanes.
    fn settle(&mut self, ensemble: &mut Ensemble, policy: &mut Policy, n_accept: usize, next: Option<Token>) {
        let n_refused = self.drafting.drafts().len() - n_accept;
        self.drafting.settle(policy, n_accept, next);
        if let Some(sequence) = &mut self.sequence {
            ensemble.take_back(sequence, n_refused);
        }
    }

    /// Chooses from the next row, and tells the chain. Nothing where a grammar is complete.
    fn choose(&mut self, ensemble: &Ensemble) -> Result<Option<(Token, Option<Position>)>, Error> {
        let Some(sequence) = &self.sequence else { return Ok(None) };
        let at = self.n_chosen;
        let (base, terms) = ensemble.row(sequence, at)?;
        let told = ensemble.told(sequence, at)?;
        let shown = told.and_then(Row::shown);
        let sampled = match shown {
            None => self.chain.sample(base, &terms),
            Some(ids) => self.chain.sample_among(base, ids, &terms),
        };
        let token = match (sampled, shown) {
            (Ok(token), _) => token,
            (Err(llama::Error::GrammarComplete), _) => return Ok(None),
            (Err(llama::Error::NothingToChoose), Some(ids)) => return Err(Error::NothingShown { n_shown: ids.len() }),
            (Err(error), _) => return Err(ensemble.blame(sequence, at, error)),
        };
        if let Some(row) = told.filter(|_| self.draw.is_none()) {
            ensemble.composed(sequence, at, self.plausibility, &mut self.composed)?;
            self.served.see(row, &self.composed);
        }
        let look = |n| Position::at(ensemble, sequence, at, token, n, self.plausibility, &mut self.composed);
        let mut position = self.n_probs.map(look).transpose()?;
        if self.divergence {
            position = position.map(|position| position.with_divergence(&self.composed, base));
        }
        self.chain.accept(token).map_err(|error| ensemble.blame(sequence, at, error))?;
        Ok(Some((token, position)))
    }

    /// The text that a token decides. An end-of-generation token has none.
    fn append(&mut self, token: Token, ensemble: &Ensemble) -> Result<String, Error> {
        let Some(sequence) = &self.sequence else { return Ok(String::new()) };
        if ensemble.ends_of(sequence).is_eog(token) {
            return Ok(String::new());
        }
        self.piece.clear();
        let lane = sequence.sampled();
        if let Some(name) = self.asked.name_of(token) {
            self.piece.extend_from_slice(name.as_bytes());
        } else {
            let piece = ensemble.model(lane).append_piece(token, &mut self.piece);
            piece.map_err(in_lane(ensemble.lanes()[lane].role))?;
        }
        Ok(self.text.push(&self.piece))
    }
}
