//! The lanes of the pairs: tokens in, terms out.

use super::Role;
use super::error::{Error, in_lane};
use crate::arithmetic::offset::Term;
use crate::arithmetic::row::Row;
use crate::llama::Token;
use crate::llama::lane::Lane;
use crate::vocab::IdMap;

/// Where one side of a pair gets its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The base's own row: no context of its own.
    Base,
    /// An index into [`Offset::lanes`].
    Lane(usize),
}

/// One pair's α and the places of its rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub alpha: f32,
    pub expert: Option<Side>,
    pub antiexpert: Option<Side>,
}

/// A small model's lane, and how its ids follow from the base's where they are not the same.
#[derive(Debug)]
pub(super) struct SmallLane {
    pub role: Role,
    pub lane: Lane,
    pub ids: Option<IdMap>,
}

impl SmallLane {
    /// Row `i` of its last decode, by the base's ids.
    pub fn row(&self, i: usize) -> Result<Row<'_>, Error> {
        let logits = self.lane.row(i).map_err(in_lane(self.role))?;
        Ok(self.ids.as_ref().map_or(logits.into(), |ids| Row::mapped(logits, ids.as_slice())))
    }

    /// The lane's id of the base's `token`.
    pub fn id(&self, token: Token) -> Option<Token> {
        match &self.ids {
            None => Some(token).filter(|&token| (token as usize) < self.lane.n_vocab()),
            Some(ids) => ids.other(token as usize).map(|id| id as Token),
        }
    }
}

/// `Σ α·(expert − antiexpert)` as lanes. Sides that would compute the same share a lane.
#[derive(Debug, Default)]
pub struct Offset {
    pub(super) lanes: Vec<SmallLane>,
    pub(super) pairs: Vec<Pair>,
}

impl Offset {
    /// The terms at row `i` of the last decode; `base` is the base's row there.
    pub fn terms<'a>(&'a self, i: usize, base: &'a [f32]) -> Result<Vec<Term<'a>>, Error> {
        let row = |side| match side {
            Side::Base => Ok(base.into()),
            Side::Lane(lane) => self.lanes[lane].row(i),
        };
        let term = |pair: &Pair| {
            let expert = pair.expert.map(row).transpose()?;
            let antiexpert = pair.antiexpert.map(row).transpose()?;
            Ok(Term { alpha: pair.alpha, expert, antiexpert })
        };
        self.pairs.iter().map(term).collect()
    }

    /// α of every pair, in order.
    pub fn alphas(&self) -> impl Iterator<Item = f32> {
        self.pairs.iter().map(|pair| pair.alpha)
    }
}
