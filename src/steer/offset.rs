//! The lanes of the pairs: tokens in, terms out.

use super::Role;
use super::error::{Error, in_lane};
use crate::arithmetic::offset::Term;
use crate::llama::lane::Lane;

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

/// `Σ α·(expert − antiexpert)` as lanes. Sides that would compute the same share a lane.
#[derive(Debug, Default)]
pub struct Offset {
    pub(super) lanes: Vec<(Role, Lane)>,
    pub(super) pairs: Vec<Pair>,
}

impl Offset {
    /// The terms at row `i` of the last decode; `base` is the base's row there.
    pub fn terms<'a>(&'a self, i: usize, base: &'a [f32]) -> Result<Vec<Term<'a>>, Error> {
        let row = |side| match side {
            Side::Base => Ok(base),
            Side::Lane(lane) => {
                let (role, lane) = &self.lanes[lane];
                lane.row(i).map_err(in_lane(*role))
            }
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
