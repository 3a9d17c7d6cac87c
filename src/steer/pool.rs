//! The lanes of the pairs without a base, for several texts at once: what a plugin runs beside a host that owns the
//! base.
//!
//! Every text has a place: a sequence of each lane, all in the same contexts, which share their cells. A place that is
//! given back keeps what it holds until somebody needs it, so that the next text that begins as the last one did is
//! not read again.

mod alongside;
mod load;

use super::error::Error;
use super::lanes::{Cast, Lanes};
use super::{Offset, Prompts, Role};
use crate::arithmetic::offset::Term;
use crate::arithmetic::row::Row;
use crate::llama::context::Context;
use crate::llama::{self, Token};
use crate::vocab::IdMap;

pub use alongside::Alongside;
pub use load::{BaseVocabulary, PoolPlan};

/// Lanes for some texts.
#[derive(Debug)]
pub struct Pool {
    /// Its cast is empty but while a text goes on.
    lanes: Lanes,
    /// Those that no text has, the longest idle first.
    idle: Vec<Place>,
    steering: Steering,
}

/// A text's place in the lanes.
#[derive(Debug, Default)]
pub struct Place(Cast);

/// What it takes to make an offset of rows: which lane is which side, by which ids, and α.
#[derive(Debug, Clone)]
pub struct Steering {
    offset: Offset,
    lanes: Vec<Ids>,
    n_vocab: usize,
}

#[derive(Debug, Clone)]
struct Ids {
    role: Role,
    n_vocab: usize,
    map: Option<IdMap>,
}

/// Which side of the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Both,
    Experts,
    Antiexperts,
}

/// What every lane is to hold: a text that may begin otherwise for experts than for antiexperts.
#[derive(Debug, Clone)]
pub struct Text {
    /// By the lanes' own ids; a token that a lane lacks as `-1 - token`.
    lanes: Prompts,
    /// Tokens behind what was fed.
    n_generated: usize,
}

/// One position's rows, taken out of the lanes.
#[derive(Debug, Default)]
pub struct Rows {
    logits: Vec<Vec<f32>>,
    /// Of the answer, from 0.
    position: usize,
}

impl Pool {
    #[must_use]
    pub fn steering(&self) -> &Steering {
        &self.steering
    }

    /// Tokens decoded so far, all lanes together.
    #[must_use]
    pub fn n_decoded(&self) -> usize {
        self.lanes.contexts.iter().map(Context::n_decoded).sum()
    }

    /// Decodes what a text's place does not hold yet, and answers the rows behind it. A text without a place gets one:
    /// of those that are idle the one that holds most of it. `go_on` is asked between pieces; `None` where it said no.
    pub fn advance(
        &mut self,
        place: &mut Option<Place>,
        text: &Text,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Option<Rows>, Error> {
        self.steering.check(text)?;
        let Place(cast) = match place.take() {
            Some(place) => place,
            None => self.closest(text).ok_or(Error::NoSequence)?,
        };
        self.lanes.cast = cast;
        let done = loop {
            let done = self.lanes.fill(&text.lanes, &mut go_on);
            if !(done.as_ref().is_err_and(is_full) && self.forget_one()) {
                break done;
            }
        };
        let rows = done.and_then(|done| if done { self.rows(text.n_generated).map(Some) } else { Ok(None) });
        *place = Some(Place(std::mem::take(&mut self.lanes.cast)));
        rows
    }

    fn rows(&self, position: usize) -> Result<Rows, Error> {
        self.lanes.check_finite(0)?;
        let logits = (0..self.steering.lanes.len()).map(|lane| self.lanes.logits(lane, 0).map(<[f32]>::to_vec));
        Ok(Rows { logits: logits.collect::<Result<_, _>>()?, position })
    }

    /// A place that holds what another one does.
    pub fn copy(&mut self, of: &Place) -> Result<Place, Error> {
        if self.idle.is_empty() {
            return Err(Error::NoSequence);
        }
        let mut place = self.idle.remove(0);
        for (to, from) in place.0.lanes.iter_mut().zip(&of.0.lanes) {
            self.lanes.contexts[to.context].copy(from.seq, to.seq);
            to.held.clone_from(&from.held);
        }
        Ok(place)
    }

    /// Takes a place back, with what it holds.
    pub fn give_back(&mut self, place: Place) {
        self.idle.push(place);
    }

    fn closest(&mut self, text: &Text) -> Option<Place> {
        let n_same = |Place(cast): &Place| -> usize {
            let same = |(held, new): (&[Token], &[Token])| held.iter().zip(new).take_while(|(a, b)| a == b).count();
            cast.lanes.iter().zip(&text.lanes.0).map(|(lane, new)| same((&lane.held, new))).sum()
        };
        // Of equals the longest idle: the last one that is the largest from behind.
        let (best, _) = self.idle.iter().enumerate().rev().max_by_key(|(_, place)| n_same(place))?;
        Some(self.idle.remove(best))
    }

    /// Empties the longest idle place that holds anything, if there is one.
    fn forget_one(&mut self) -> bool {
        let holding = self.idle.iter_mut().find(|place| place.0.lanes.iter().any(|lane| !lane.held.is_empty()));
        let Some(Place(cast)) = holding else { return false };
        for lane in &mut cast.lanes {
            lane.roll_back(&mut self.lanes.contexts[lane.context], 0);
        }
        true
    }
}

/// Whether there would be room if others held less.
fn is_full(error: &Error) -> bool {
    let Error::Lane { source, .. } = error else { return false };
    matches!(source, llama::Error::ContextFull { .. } | llama::Error::Decode { code: 1, .. })
}

impl Side {
    fn has(self, role: Role) -> bool {
        match role {
            Role::Base => false,
            Role::Expert(_) => self != Self::Antiexperts,
            Role::Antiexpert(_) => self != Self::Experts,
        }
    }
}

impl Steering {
    /// Size of the base's vocabulary.
    #[must_use]
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// α of every pair.
    #[must_use]
    pub fn offset_mut(&mut self) -> &mut Offset {
        &mut self.offset
    }

    /// A text with nothing in it.
    #[must_use]
    pub fn begin(&self) -> Text {
        Text { lanes: Prompts(vec![Vec::new(); self.lanes.len()]), n_generated: 0 }
    }

    /// Whether there are lanes on a side.
    #[must_use]
    pub fn has(&self, side: Side) -> bool {
        self.lanes.iter().any(|lane| side.has(lane.role))
    }

    /// Refuses tokens, by the base's ids, that a side cannot be told.
    pub fn check_tokens(&self, side: Side, tokens: &[Token]) -> Result<(), Error> {
        for &token in tokens {
            if !usize::try_from(token).is_ok_and(|id| id < self.n_vocab) {
                return Err(Error::Chain(llama::Error::TokenRange { token, n_vocab: self.n_vocab }));
            }
            if let Some(Ids { role, .. }) = self.lanes.iter().find(|lane| side.has(lane.role) && lane.id(token) < 0) {
                return Err(Error::Lacking { role: *role, token });
            }
        }
        Ok(())
    }

    /// The text of a side becomes this, by the base's ids.
    pub fn feed(&self, text: &mut Text, side: Side, tokens: &[Token]) {
        for (ids, lane) in self.lanes.iter().zip(&mut text.lanes.0).filter(|(ids, _)| side.has(ids.role)) {
            lane.clear();
            lane.extend(tokens.iter().map(|&token| ids.id(token)));
        }
        text.n_generated = 0;
    }

    /// Every lane's text goes on by a token of the base. What is wrong with it shows when the text is decoded.
    pub fn push(&self, text: &mut Text, token: Token) {
        for (ids, lane) in self.lanes.iter().zip(&mut text.lanes.0) {
            lane.push(ids.id(token));
        }
        text.n_generated += 1;
    }

    /// Takes back the last `n` tokens of every lane.
    pub fn roll_back(&self, text: &mut Text, n: usize) {
        for lane in &mut text.lanes.0 {
            lane.truncate(lane.len().saturating_sub(n));
        }
        text.n_generated = text.n_generated.saturating_sub(n);
    }

    fn check(&self, text: &Text) -> Result<(), Error> {
        for (Ids { role, .. }, lane) in self.lanes.iter().zip(&text.lanes.0) {
            let role = *role;
            if lane.is_empty() {
                return Err(Error::NothingFed { role });
            }
            if let Some(token) = lane.iter().find(|&&token| token < 0) {
                return Err(Error::Lacking { role, token: token.wrapping_neg().wrapping_sub(1) });
            }
        }
        Ok(())
    }

    /// The terms of a position's rows.
    pub fn terms<'a>(&'a self, rows: &'a Rows) -> Result<Vec<Term<'a>>, Error> {
        self.offset.terms_of(rows.position, |lane| {
            let logits = rows.logits[lane].as_slice();
            Ok(self.lanes[lane].map.as_ref().map_or(logits.into(), |ids| Row::mapped(logits, ids.as_slice())))
        })
    }
}

impl Ids {
    /// The lane's id of the base's `token`; what is below zero stands for a token that it lacks.
    fn id(&self, token: Token) -> Token {
        let id = match &self.map {
            None => usize::try_from(token).ok().filter(|&id| id < self.n_vocab),
            Some(map) => usize::try_from(token).ok().and_then(|id| map.other(id)),
        };
        id.map_or(-1 - token.max(0), |id| id as Token)
    }
}

impl Text {
    /// Tokens of the shortest lane.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.0.iter().map(Vec::len).min().unwrap_or(0)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
