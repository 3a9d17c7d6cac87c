//! Which lanes there are and how they add up. It never changes, so that whoever has rows can make an offset of them.

use super::weights::{Weights, WeightsRequest};
use super::{Error, Role};
use crate::arithmetic::offset::Term;
use crate::arithmetic::row::Row;
use crate::llama::{self, Token};
use crate::prompt;
use crate::recipe::Schedule;
use crate::vocab::IdMap;

/// One lane: a model under one view of the prompt.
#[derive(Debug)]
pub struct Lane {
    /// The first of the roles that it plays.
    pub role: Role,
    pub view: prompt::View,
    /// Index of its context, and its place among the lanes there.
    pub(super) context: usize,
    pub(super) place: usize,
    /// How its ids follow from the base's, where they are not the same.
    pub(super) ids: Option<IdMap>,
    pub(super) n_vocab: usize,
}

impl Lane {
    /// The lane's id of the base's `token`.
    #[must_use]
    pub fn id(&self, token: Token) -> Option<Token> {
        let token = usize::try_from(token).ok()?;
        match &self.ids {
            None => Some(token).filter(|&token| token < self.n_vocab),
            Some(ids) => ids.other(token),
        }
        .map(|id| id as Token)
    }

    /// The same, which it has to have.
    pub(super) fn own(&self, token: Token) -> Result<Token, Error> {
        self.id(token).ok_or(Error::Lacking { role: self.role, token })
    }

    /// A row of its logits, by the base's ids.
    #[must_use]
    pub fn row<'a>(&'a self, logits: &'a [f32]) -> Row<'a> {
        self.ids.as_ref().map_or(logits.into(), |ids| Row::mapped(logits, ids.as_slice()))
    }
}

/// One pair: its name, and the lanes of its sides.
#[derive(Debug)]
pub struct Pair {
    pub(super) name: String,
    pub(super) expert: Option<usize>,
    pub(super) antiexpert: Option<usize>,
}

/// Which side of the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Both,
    Experts,
    Antiexperts,
}

impl Side {
    /// Whether a role stands on it; the base stands on neither alone.
    #[must_use]
    pub fn has(self, role: Role) -> bool {
        match role {
            Role::Base => self == Self::Both,
            Role::Expert(_) => self != Self::Antiexperts,
            Role::Antiexpert(_) => self != Self::Experts,
        }
    }
}

/// The lanes, the base's first where there is one, and the pairs. Sides that would compute the same share a lane, the
/// base's too.
#[derive(Debug)]
pub struct Topology {
    pub(super) lanes: Vec<Lane>,
    pub(super) pairs: Vec<Pair>,
    /// As planned.
    pub(super) weights: Weights,
    /// Size of the base's vocabulary.
    pub(super) n_vocab: usize,
}

impl Topology {
    #[must_use]
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    #[must_use]
    pub fn n_pairs(&self) -> usize {
        self.pairs.len()
    }

    /// What the pairs are called, in order: by the plan, else by their numbers from 1 on.
    pub fn pair_names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|pair| pair.name.as_str())
    }

    /// α of every pair as planned, in order.
    pub fn alphas(&self) -> impl Iterator<Item = &Schedule> {
        self.weights.alphas()
    }

    /// Size of the base's vocabulary.
    #[must_use]
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// A role's lane; several roles may have one together.
    #[must_use]
    pub fn lane(&self, role: Role) -> Option<usize> {
        match role {
            Role::Base => self.has_base().then_some(0),
            Role::Expert(pair) => self.pairs.get(pair)?.expert,
            Role::Antiexpert(pair) => self.pairs.get(pair)?.antiexpert,
        }
    }

    /// Whether the base has a lane here, and is not decoded by somebody else.
    #[must_use]
    pub fn has_base(&self) -> bool {
        self.lanes.first().is_some_and(|lane| lane.role == Role::Base)
    }

    /// Every role with a side of its own, the base first.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        let pairs = (0..self.pairs.len()).flat_map(|i| [Role::Expert(i), Role::Antiexpert(i)]);
        std::iter::once(Role::Base).chain(pairs).filter(|&role| self.lane(role).is_some())
    }

    /// Whether there are lanes on a side.
    #[must_use]
    pub fn has(&self, side: Side) -> bool {
        self.lanes.iter().any(|lane| side.has(lane.role))
    }

    /// Refuses what is no token of the base.
    pub(super) fn check_range(&self, token: Token) -> Result<(), Error> {
        match usize::try_from(token) {
            Ok(id) if id < self.n_vocab => Ok(()),
            _ => Err(Error::Chain(llama::Error::TokenRange { token, n_vocab: self.n_vocab })),
        }
    }

    /// Refuses tokens, by the base's ids, that a side cannot be told.
    pub fn check_tokens(&self, side: Side, tokens: &[Token]) -> Result<(), Error> {
        for &token in tokens {
            self.check_range(token)?;
            for lane in self.lanes.iter().filter(|lane| side.has(lane.role)) {
                lane.own(token)?;
            }
        }
        Ok(())
    }

    /// The weights as planned.
    #[must_use]
    pub fn planned(&self) -> &Weights {
        &self.weights
    }

    /// The weights that a request asks for.
    pub fn weights(&self, asked: &WeightsRequest) -> Result<Weights, Error> {
        self.changed(&self.weights, asked)
    }

    /// Weights with what is asked for in their place; what that leaves open stays as it is.
    pub fn changed(&self, weights: &Weights, asked: &WeightsRequest) -> Result<Weights, Error> {
        let names: Vec<_> = self.pair_names().collect();
        weights.clone().with(asked, &names)
    }

    /// Whether the base has no say under these weights: see [`Plan::cancels_base`](super::Plan::cancels_base).
    #[must_use]
    pub fn cancels_base(&self, weights: &Weights) -> bool {
        let base = self.lane(Role::Base);
        base.is_some() && weights.cancel_base(|role| self.lane(role) == base)
    }

    /// What to add to the base's logits at a position of the answer, of each lane's row there, by the base's ids.
    pub fn terms<'a>(
        &self,
        weights: &Weights,
        position: usize,
        row: impl Fn(usize) -> Result<Row<'a>, Error>,
    ) -> Result<Vec<Term<'a>>, Error> {
        let mut terms = Vec::with_capacity(self.pairs.len() + 1);
        let base = weights.base_at(position);
        if base != 1.0 && self.has_base() {
            terms.push(Term::pair(base - 1.0, Some(row(0)?), None));
        }
        for (i, pair) in self.pairs.iter().enumerate() {
            let (a, b) = weights.at(i, position);
            let side = |lane: Option<usize>| lane.filter(|_| !weights.leave_out(i, position)).map(&row).transpose();
            terms.push(Term { a, b, expert: side(pair.expert)?, antiexpert: side(pair.antiexpert)? });
        }
        Ok(terms)
    }

    /// Whether a lane's row is in some pair's term at a position.
    pub(super) fn uses(&self, weights: &Weights, lane: usize, position: usize) -> bool {
        let is_of = |pair: &Pair| pair.expert == Some(lane) || pair.antiexpert == Some(lane);
        self.pairs.iter().enumerate().any(|(i, pair)| is_of(pair) && !weights.leave_out(i, position))
    }
}
