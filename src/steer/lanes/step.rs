//! Tokens behind the prompts: guessed ahead on one lane, decoded on all, taken back on all.

use std::time::Instant;

use super::costs::Step;
use super::{Lane, LaneRef, Lanes};
use crate::arithmetic::row::Row;
use crate::llama::Token;
use crate::llama::context::{Outputs, Part};
use crate::steer::Error;
use crate::steer::error::in_lane;

impl Lanes {
    /// Decodes a token, by the base's ids, on lane `at` before the others; the row that it puts out. The others follow
    /// with [`Self::decode`]. On an error, and until then, [`Self::drop_ahead`] takes back what is ahead.
    pub fn ahead(&mut self, at: usize, token: Token) -> Result<Row<'_>, Error> {
        if self.cast.out_of_step {
            return Err(Error::OutOfStep);
        }
        let own = self.get(at).own(token)?;
        let Self { contexts, cast } = self;
        let lane = &mut cast.lanes[at];
        let context = &mut contexts[lane.context];
        if lane.ahead.is_settled {
            lane.ahead.forget();
        }
        let began = Instant::now();
        let part = Part { seq: lane.seq, tokens: &[own], outputs: Outputs::All };
        if let Err(error) = context.submit(std::iter::once(part)) {
            let n_held = lane.held.len();
            lane.agree_with(context);
            cast.out_of_step |= lane.held.len() != n_held;
            return Err(in_lane(lane.role)(error));
        }
        context.wait();
        cast.costs.add_ahead(at, began.elapsed());
        lane.held.push(own);
        lane.ahead.rows.extend_from_slice(context.row(lane.seq, 0).map_err(in_lane(lane.role))?);
        lane.ahead.n += 1;
        self.row(at, self.cast.lanes[at].ahead.n - 1)
    }

    /// Takes back what lanes decoded ahead of the others.
    pub fn drop_ahead(&mut self) {
        let Self { contexts, cast } = self;
        for lane in cast.lanes.iter_mut().filter(|lane| lane.ahead.is_open()) {
            let n_held = lane.held.len().saturating_sub(lane.ahead.n);
            lane.roll_back(&mut contexts[lane.context], n_held);
            cast.out_of_step |= lane.held.len() != n_held;
            lane.ahead.forget();
        }
    }

    /// Decodes the same tokens, by the base's ids, on every lane, all rows put out. Those that a lane decoded ahead are the
    /// first of them. On an error no lane has moved, or [`Error::OutOfStep`] follows until the next [`Self::prefill`].
    pub fn decode(&mut self, tokens: &[Token]) -> Result<(), Error> {
        if self.cast.out_of_step {
            return Err(Error::OutOfStep);
        }
        let began = Instant::now();
        let mut step = Step::AtOnce;
        for i in 0..self.cast.lanes.len() {
            let mut fresh = std::mem::take(&mut self.cast.lanes[i].fresh);
            fresh.clear();
            let lane = self.get(i);
            let n_ahead = if lane.lane.ahead.is_open() { lane.lane.ahead.n } else { 0 };
            let own = tokens[n_ahead..].iter().try_for_each(|&token| lane.own(token).map(|own| fresh.push(own)));
            let lane = &mut self.cast.lanes[i];
            lane.fresh = fresh;
            if own.is_err() {
                self.drop_ahead();
                return own;
            }
            if n_ahead == 0 {
                lane.ahead.forget();
            } else {
                step = Step::Behind;
            }
        }
        self.submit()?;
        self.cast.costs.add_step(step, tokens.len(), began.elapsed());
        self.cast.first_position = self.cast.n_generated + 1;
        self.cast.n_generated += tokens.len();
        self.cast.n_rows = tokens.len();
        Ok(())
    }

    /// Decodes what is fresh on every lane, in one batch for each context. On an error no lane has moved, or they are
    /// out of step.
    fn submit(&mut self) -> Result<(), Error> {
        let Self { contexts, cast } = self;
        let mut n_submitted = 0;
        let done = contexts.iter_mut().enumerate().try_for_each(|(i, context)| {
            let outputs = Outputs::All;
            let fresh = cast.lanes.iter().filter(|lane| lane.context == i && !lane.fresh.is_empty());
            if let Some(Lane { role, .. }) = fresh.clone().next() {
                let parts = fresh.map(|lane| Part { seq: lane.seq, tokens: &lane.fresh, outputs });
                context.submit(parts).map_err(in_lane(*role))?;
            }
            n_submitted += 1;
            Ok(())
        });
        for lane in &mut cast.lanes {
            let context = &mut contexts[lane.context];
            if done.is_ok() {
                context.wait();
                lane.held.extend_from_slice(&lane.fresh);
                lane.ahead.is_settled = true;
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
        if done.is_err() {
            self.drop_ahead();
        }
        done
    }

    /// Takes back all but the first `n` tokens of the last decode; their rows are gone.
    pub fn keep(&mut self, n: usize) -> Result<(), Error> {
        let Self { contexts, cast } = self;
        let n_back = cast.n_rows.saturating_sub(n);
        if n_back == 0 {
            return Ok(());
        }
        for lane in &mut cast.lanes {
            let n_held = lane.held.len().saturating_sub(n_back);
            lane.roll_back(&mut contexts[lane.context], n_held);
            cast.out_of_step |= lane.held.len() != n_held;
        }
        cast.n_rows = n;
        cast.n_generated = cast.n_generated.saturating_sub(n_back);
        if cast.out_of_step { Err(Error::OutOfStep) } else { Ok(()) }
    }
}

impl LaneRef<'_> {
    /// The lane's id of the base's `token`, which it has to have.
    fn own(&self, token: Token) -> Result<Token, Error> {
        self.id(token).ok_or(Error::Lacking { role: self.role(), token })
    }
}
