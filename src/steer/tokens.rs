//! Sequences given out and taken back, and what they want: prompts, tokens, and what is taken back of them.

use std::ops::Range;

use super::error::Error;
use super::sequence::{Prompts, Sampled, Sequence, Track};
use super::topology::Side;
use super::weights::WeightsRequest;
use super::{Ensemble, Lane};
use crate::llama::Token;

impl Ensemble {
    /// A sequence with nothing in it.
    pub fn open(&mut self) -> Result<Sequence, Error> {
        let text = self.free.pop().ok_or(Error::NoSequence)?;
        let n_lanes = |context: usize| self.lanes().iter().filter(|lane| lane.context == context).count();
        let track = |lane: &Lane| Track { seq: text * n_lanes(lane.context) + lane.place, ..Track::default() };
        let mut sequence = Sequence::new(text, self.lanes().iter().map(track).collect());
        sequence.weights = self.topology.weights(&WeightsRequest::default())?;
        Ok(sequence)
    }

    /// Takes a sequence back; its lanes forget it.
    pub fn close(&mut self, mut sequence: Sequence) {
        self.clear(&mut sequence);
        self.free.push(sequence.text);
    }

    /// Empties a sequence on all lanes.
    pub fn clear(&mut self, sequence: &mut Sequence) {
        for lane in 0..sequence.tracks.len() {
            sequence.tracks[lane].wanted.clear();
            sequence.tracks[lane].n_prompt = 0;
            sequence.tracks[lane].rests = false;
            self.roll_back(sequence, lane, 0);
            sequence.tracks[lane].forget_rows();
        }
        sequence.n_generated = 0;
    }

    /// A lane forgets what is behind the first `n` tokens, or all where its model cannot forget a part: then it decodes
    /// again what is wanted of it.
    pub(super) fn roll_back(&mut self, sequence: &mut Sequence, lane: usize, n: usize) {
        let context = &mut self.contexts[self.topology.lanes[lane].context];
        let track = &mut sequence.tracks[lane];
        context.roll_back(track.seq, n);
        track.n_held = context.n_past(track.seq);
        track.forget_later_rows();
    }

    /// Makes the lanes in use come to their ends in one step: where one has lost what it held, those that lack nothing decode
    /// their last token again, since its row does not outlive what their contexts decode until then.
    pub fn arrive_together(&mut self, sequence: &mut Sequence) {
        if sequence.n_missing() == 0 {
            return;
        }
        for lane in sequence.lanes() {
            let Track { wanted, n_held, rests, .. } = &sequence.tracks[lane];
            if wanted.len() == *n_held && !rests {
                self.roll_back(sequence, lane, n_held.saturating_sub(1));
            }
        }
    }

    /// Whether there is a sequence that nobody has.
    #[must_use]
    pub fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether [`Self::fork`] costs no memory, since all texts share their cells.
    #[must_use]
    pub fn shares_cells(&self) -> bool {
        self.contexts.iter().all(|context| context.n_shared_left().is_some())
    }

    /// A sequence that holds what another one does.
    pub fn fork(&mut self, sequence: &Sequence) -> Result<Sequence, Error> {
        let mut fork = self.open()?;
        for (lane, (from, to)) in sequence.tracks.iter().zip(&mut fork.tracks).enumerate() {
            self.contexts[self.topology.lanes[lane].context].copy(from.seq, to.seq);
            to.wanted.clone_from(&from.wanted);
            (to.n_prompt, to.n_held, to.rests) = (from.n_prompt, from.n_held, from.rests);
        }
        (fork.alone, fork.n_generated) = (sequence.alone, sequence.n_generated);
        fork.weights.clone_from(&sequence.weights);
        Ok(fork)
    }

    /// Makes a sequence want these prompts. What its lanes hold already is kept as far as it is the same; the last token
    /// of each is decoded again, since it has to put out a row.
    pub fn begin(&mut self, sequence: &mut Sequence, sampled: Sampled, prompts: &Prompts) -> Result<(), Error> {
        sequence.alone = self.alone(sampled)?;
        sequence.n_generated = 0;
        for lane in sequence.lanes() {
            self.want(sequence, lane, prompts.lane(lane));
        }
        Ok(())
    }

    fn want(&mut self, sequence: &mut Sequence, lane: usize, prompt: &[Token]) {
        let n_common = sequence.tracks[lane].n_common(&prompt[..prompt.len().saturating_sub(1)]);
        self.roll_back(sequence, lane, n_common);
        let track = &mut sequence.tracks[lane];
        track.forget_rows();
        (track.n_prompt, track.rests) = (prompt.len(), false);
        track.wanted.clear();
        track.wanted.extend_from_slice(prompt);
        let context = self.topology.lanes[lane].context;
        self.contexts[context].reset_timings(track.seq);
    }

    /// The text of a side becomes this, by the base's ids: what experts read may differ from what antiexperts do.
    pub fn feed(&mut self, sequence: &mut Sequence, side: Side, tokens: &[Token]) -> Result<(), Error> {
        let topology = self.topology.clone();
        for (i, lane) in topology.lanes.iter().enumerate().filter(|(_, lane)| side.has(lane.role)) {
            let own = tokens.iter().map(|&token| lane.own(token)).collect::<Result<Vec<_>, _>>()?;
            self.want(sequence, i, &own);
        }
        self.begin_answer(sequence);
        Ok(())
    }

    /// Every lane in use goes on by a token, by the ids of the lane that is sampled from.
    pub fn push(&self, sequence: &mut Sequence, token: Token) -> Result<(), Error> {
        if sequence.is_steered() {
            // All lanes or none.
            self.lanes().iter().try_for_each(|lane| lane.own(token).map(drop))?;
        }
        for lane in sequence.lanes() {
            let own = if sequence.is_steered() { self.lanes()[lane].own(token)? } else { token };
            sequence.tracks[lane].wanted.push(own);
        }
        sequence.n_generated += 1;
        Ok(())
    }

    /// Lanes rest whose rows the sum leaves out at all of these positions of the answer, but for one that is to stay awake; the
    /// others decode, and what they have missed is missing now. Whoever changes the weights calls it again.
    pub fn rest(&self, sequence: &mut Sequence, positions: Range<usize>, awake: Option<usize>) {
        for lane in sequence.lanes() {
            let is_needed = Some(lane) == awake
                || lane == sequence.sampled()
                || positions.clone().any(|at| self.topology.uses(&sequence.weights, lane, at));
            sequence.tracks[lane].rests = !is_needed;
        }
    }

    /// Wakes the lanes whose rows the sum has at some of these positions of the answer.
    pub fn wake(&self, sequence: &mut Sequence, positions: Range<usize>) {
        for lane in sequence.lanes() {
            let is_needed = positions.clone().any(|at| self.topology.uses(&sequence.weights, lane, at));
            sequence.tracks[lane].rests &= !is_needed;
        }
    }

    /// Takes back all but the first `n` tokens behind the prompts. Of a text that was fed, tokens of the prompts too.
    pub fn keep(&mut self, sequence: &mut Sequence, n: usize) {
        self.take_back(sequence, sequence.n_generated.saturating_sub(n));
    }

    /// Takes back the last `n` tokens of every lane in use.
    pub fn take_back(&mut self, sequence: &mut Sequence, n: usize) {
        if n == 0 {
            return;
        }
        for lane in sequence.lanes() {
            let track = &mut sequence.tracks[lane];
            let n_wanted = track.wanted.len().saturating_sub(n);
            track.wanted.truncate(n_wanted);
            track.n_prompt = track.n_prompt.min(n_wanted);
            if track.n_held > n_wanted {
                self.roll_back(sequence, lane, n_wanted);
            }
        }
        sequence.n_generated = sequence.n_generated.saturating_sub(n);
    }
}
