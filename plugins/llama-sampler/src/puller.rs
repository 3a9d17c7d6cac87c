//! What a stage asks for its rows: it tells the pair's thread how the text goes on, and waits for what that makes of it.

use std::sync::Arc;

use crossbeam_channel::bounded;
use proxytune::arithmetic::offset::Term;
use proxytune::llama::Token;
use proxytune::llama::stage::{Failure, Source};
use proxytune::recipe::Schedule;
use proxytune::recipe::schedule::check_alpha;
use proxytune::steer::{Rows, Side, Weights, WeightsRequest};

use crate::error::Error;
use crate::pair::LoadedPair;
use crate::worker::{Id, Message};

pub struct Puller {
    pair: Arc<LoadedPair>,
    /// With this stage's α.
    weights: Weights,
    /// `None` for a clone beyond the last stage.
    stage: Option<Id>,
    /// Those of the position, once they were asked for.
    rows: Option<Arc<Rows>>,
    /// Tokens of the experts' text and of the antiexperts'.
    n_tokens: [usize; 2],
}

impl Puller {
    pub fn open(pair: Arc<LoadedPair>) -> Result<Self, Error> {
        let weights = pair.topology.weights(&WeightsRequest::default())?;
        let mut puller = Self { pair, weights, stage: None, rows: None, n_tokens: [0; 2] };
        puller.enter()?;
        Ok(puller)
    }

    fn enter(&mut self) -> Result<(), Error> {
        let stage = self.pair.admit()?;
        self.pair.send(Message::Open { stage });
        self.stage = Some(stage);
        Ok(())
    }

    /// The text is about to be another one.
    fn change(&mut self, message: impl FnOnce(Id) -> Message) {
        self.rows = None;
        if let Some(stage) = self.stage {
            self.pair.send(message(stage));
        }
    }

    pub fn feed(&mut self, side: Side, tokens: &[Token]) -> Result<(), Error> {
        if !self.pair.topology.has(side) {
            return Err(Error::argument("role", format!("{side:?}"), "a side that the pair has"));
        }
        self.pair.topology.check_tokens(side, tokens)?;
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
        let n_tokens = sides.filter(|(side, _)| self.pair.topology.has(*side)).map(|(_, n)| n).min().unwrap_or(0);
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
        let asked = WeightsRequest { alpha: vec![Schedule::constant(alpha)], ..WeightsRequest::default() };
        self.weights = self.pair.topology.weights(&asked)?;
        Ok(())
    }

    fn ask(&self) -> Result<Arc<Rows>, Failure> {
        let failed = |reason: &str| Failure::Source(reason.into());
        let stage = self.stage.ok_or_else(|| failed("this stage has no sequence"))?;
        let (reply, answer) = bounded(1);
        self.pair.send(Message::Rows { stage, reply });
        answer.recv().map_err(|_| failed("the pair's thread has ended"))?.map_err(Failure::Source)
    }
}

impl Source for Puller {
    fn accept(&mut self, token: Token) {
        self.n_tokens = self.n_tokens.map(|n| n + 1);
        self.change(|stage| Message::Accept { stage, token });
    }

    fn rows(&mut self, add: &mut dyn FnMut(&[Term<'_>]) -> Result<(), Failure>) -> Result<(), Failure> {
        let rows = match &self.rows {
            Some(rows) => rows.clone(),
            None => self.ask()?,
        };
        let rows = self.rows.insert(rows);
        let terms = self
            .pair
            .topology
            .terms_of(&self.weights, rows)
            .map_err(|error| Failure::Source(error.to_string().into()))?;
        add(&terms)
    }

    fn reset(&mut self) {
        self.n_tokens = [0; 2];
        self.change(|stage| Message::Reset { stage });
        if self.stage.is_none() {
            // There may be one by now; if not, that shows when rows are asked for.
            let _ = self.enter();
        }
    }

    fn copy(&mut self) -> (Box<dyn Source>, Option<Failure>) {
        let mut copy = Self {
            pair: self.pair.clone(),
            weights: self.weights.clone(),
            stage: None,
            rows: self.rows.clone(),
            n_tokens: self.n_tokens,
        };
        let Some(from) = self.stage else { return (Box::new(copy), None) };
        let failure = match self.pair.admit() {
            Err(error) => Some(Failure::Source(error.to_string().into())),
            Ok(stage) => {
                self.pair.send(Message::Copy { from, stage });
                copy.stage = Some(stage);
                None
            }
        };
        (Box::new(copy), failure)
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        if self.stage.is_some() {
            self.change(|stage| Message::Close { stage });
            self.pair.leave();
        }
    }
}
