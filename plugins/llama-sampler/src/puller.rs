//! What a stage asks for its rows: it tells the pair's thread how the text goes on, and waits for what that makes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::bounded;
use proxytune::arithmetic::offset::Term;
use proxytune::llama::Token;
use proxytune::llama::stage::{Failure, Source};
use proxytune::recipe::Schedule;
use proxytune::recipe::schedule::check_alpha;
use proxytune::steer::pool::{Rows, Side, Steering};

use crate::error::Error;
use crate::pair::Pair;
use crate::worker::{Changes, Id, Message};

pub struct Puller {
    pair: Arc<Pair>,
    /// With this stage's α.
    steering: Steering,
    /// `None` for a clone that found no seat.
    seat: Option<Seat>,
    /// Those of the position, once they were asked for.
    rows: Option<Arc<Rows>>,
    /// Tokens of the experts' text and of the antiexperts'.
    n_tokens: [usize; 2],
}

struct Seat {
    stage: Id,
    changes: Changes,
}

impl Puller {
    pub fn open(pair: Arc<Pair>) -> Result<Self, Error> {
        let steering = pair.steering.clone();
        let mut puller = Self { pair, steering, seat: None, rows: None, n_tokens: [0; 2] };
        puller.sit_down()?;
        Ok(puller)
    }

    fn sit_down(&mut self) -> Result<(), Error> {
        let (stage, changes) = (self.pair.take_seat()?, Changes::default());
        self.pair.send(Message::Open { stage, changes: changes.clone() });
        self.seat = Some(Seat { stage, changes });
        Ok(())
    }

    /// The text is about to be another one: what is being read of the old one is dropped.
    fn change(&mut self, message: impl FnOnce(Id) -> Message) {
        self.rows = None;
        if let Some(Seat { stage, changes }) = &self.seat {
            changes.fetch_add(1, Ordering::Release);
            self.pair.send(message(*stage));
        }
    }

    pub fn feed(&mut self, side: Side, tokens: &[Token]) -> Result<(), Error> {
        if !self.steering.has(side) {
            return Err(Error::argument("role", format!("{side:?}"), "a side that the pair has"));
        }
        self.steering.check_tokens(side, tokens)?;
        let [experts, antiexperts] = self.n_tokens;
        self.n_tokens = match side {
            Side::Both => [tokens.len(); 2],
            Side::Experts => [tokens.len(), antiexperts],
            Side::Antiexperts => [experts, tokens.len()],
        };
        let tokens = tokens.to_vec();
        self.change(|stage| Message::Feed { stage, side, tokens });
        Ok(())
    }

    pub fn roll_back(&mut self, n: usize) -> Result<(), Error> {
        let sides = [Side::Experts, Side::Antiexperts].into_iter().zip(self.n_tokens);
        let n_tokens = sides.filter(|(side, _)| self.steering.has(*side)).map(|(_, n)| n).min().unwrap_or(0);
        if n > n_tokens {
            return Err(Error::argument("n", n, format!("at most {n_tokens}, which is what the text has")));
        }
        if n > 0 {
            self.n_tokens = self.n_tokens.map(|n_tokens| n_tokens.saturating_sub(n));
            self.change(|stage| Message::RollBack { stage, n });
        }
        Ok(())
    }

    pub fn set_alpha(&mut self, alpha: f32) -> Result<(), Error> {
        check_alpha(alpha)?;
        Ok(self.steering.offset_mut().set_alphas(&[Schedule::constant(alpha)])?)
    }

    fn ask(&self) -> Result<Arc<Rows>, Failure> {
        let failed = |reason: &str| Failure::Source(reason.into());
        let seat = self.seat.as_ref().ok_or_else(|| failed("this stage has no sequence"))?;
        let (reply, answer) = bounded(1);
        self.pair.send(Message::Rows { stage: seat.stage, reply });
        answer.recv().map_err(|_| failed("the pair's thread has ended"))?.map_err(Failure::Source)
    }
}

impl Source for Puller {
    fn accept(&mut self, token: Token) {
        self.rows = None;
        self.n_tokens = self.n_tokens.map(|n| n + 1);
        if let Some(Seat { stage, .. }) = &self.seat {
            self.pair.send(Message::Accept { stage: *stage, token });
        }
    }

    fn rows(&mut self, add: &mut dyn FnMut(&[Term<'_>]) -> Result<(), Failure>) -> Result<(), Failure> {
        let rows = match &self.rows {
            Some(rows) => rows.clone(),
            None => self.ask()?,
        };
        let rows = self.rows.insert(rows);
        let terms = self.steering.terms(rows).map_err(|error| Failure::Source(error.to_string().into()))?;
        add(&terms)
    }

    fn reset(&mut self) {
        self.n_tokens = [0; 2];
        self.change(|stage| Message::Reset { stage });
        if self.seat.is_none() {
            // There may be one by now; if not, that shows when rows are asked for.
            let _ = self.sit_down();
        }
    }

    fn copy(&mut self) -> (Box<dyn Source>, Option<Failure>) {
        let mut copy = Self {
            pair: self.pair.clone(),
            steering: self.steering.clone(),
            seat: None,
            rows: self.rows.clone(),
            n_tokens: self.n_tokens,
        };
        let Some(Seat { stage: from, .. }) = self.seat else { return (Box::new(copy), None) };
        let failure = match self.pair.take_seat() {
            Err(error) => Some(Failure::Source(error.to_string().into())),
            Ok(stage) => {
                let changes = Changes::default();
                self.pair.send(Message::Copy { from, stage, changes: changes.clone() });
                copy.seat = Some(Seat { stage, changes });
                None
            }
        };
        (Box::new(copy), failure)
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        if self.seat.is_some() {
            self.change(|stage| Message::Close { stage });
            self.pair.leave_seat();
        }
    }
}
