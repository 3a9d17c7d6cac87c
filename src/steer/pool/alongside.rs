//! The pairs of one text, for a program that decodes the base itself.

use std::path::Path;

use super::{Place, Pool, PoolPlan, Rows, Side, Steering, Text};
use crate::arithmetic::offset::Term;
use crate::llama::Token;
use crate::llama::backend::Backend;
use crate::steer::load::Models;
use crate::steer::{Error, Role};

/// Lanes of the pairs, and the text that they follow. Nothing is decoded before [`Self::terms`].
#[derive(Debug)]
pub struct Alongside {
    pool: Pool,
    steering: Steering,
    place: Option<Place>,
    text: Text,
    rows: Option<Rows>,
}

impl Alongside {
    /// Checks the files of a plan and loads them. `progress` hears of each as a share of 0 to 1, and answers whether to
    /// go on.
    pub fn load(
        backend: &Backend,
        plan: &PoolPlan,
        progress: &mut dyn FnMut(Role, &Path, f32) -> bool,
    ) -> Result<Self, Error> {
        let pool = Pool::load(backend, plan, &mut Models::default(), progress)?;
        let steering = pool.steering().clone();
        let text = steering.begin();
        Ok(Self { pool, steering, place: None, text, rows: None })
    }

    /// The text of a side becomes this, by the base's ids.
    pub fn feed(&mut self, side: Side, tokens: &[Token]) -> Result<(), Error> {
        self.steering.check_tokens(side, tokens)?;
        self.steering.feed(&mut self.text, side, tokens);
        self.rows = None;
        Ok(())
    }

    /// The text goes on by a token of the base.
    pub fn accept(&mut self, token: Token) -> Result<(), Error> {
        self.steering.check_tokens(Side::Both, &[token])?;
        self.steering.push(&mut self.text, token);
        self.rows = None;
        Ok(())
    }

    /// Takes back the last `n` tokens.
    pub fn roll_back(&mut self, n: usize) {
        self.steering.roll_back(&mut self.text, n);
        self.rows = None;
    }

    /// Decodes what is new; answers what to add to the base's logits behind the text.
    pub fn terms(&mut self) -> Result<Vec<Term<'_>>, Error> {
        let rows = match self.rows.take() {
            Some(rows) => rows,
            // It is never told to stop.
            None => self.pool.advance(&mut self.place, &self.text, || true)?.ok_or(Error::OutOfStep)?,
        };
        self.steering.terms(self.rows.insert(rows))
    }
}
