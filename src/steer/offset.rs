//! `Σ α·(expert − antiexpert)` over lanes: which lane is which side, and how far each pair steers.

use super::Error;
use super::lanes::Lanes;
use crate::arithmetic::offset::Term;
use crate::arithmetic::row::Row;
use crate::llama::Token;
use crate::recipe::Schedule;

/// One pair: α along the text, and the lanes of its sides.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// As planned, and as the running request wants it.
    pub planned: Schedule,
    pub alpha: Schedule,
    pub expert: Option<usize>,
    pub antiexpert: Option<usize>,
}

/// The pairs of a steered model. Sides that would compute the same share a lane, the base's too.
#[derive(Debug, Clone, Default)]
pub struct Offset {
    pub(super) pairs: Vec<Pair>,
}

impl Offset {
    /// The terms at row `i` of the last decode.
    pub(super) fn terms<'a>(&self, lanes: &'a Lanes, i: usize) -> Result<Vec<Term<'a>>, Error> {
        self.terms_of(lanes.position(i), |lane| lanes.row(lane, i))
    }

    /// The terms at a position of the answer, of each lane's row there.
    pub(super) fn terms_of<'a>(
        &self,
        position: usize,
        row: impl Fn(usize) -> Result<Row<'a>, Error>,
    ) -> Result<Vec<Term<'a>>, Error> {
        let term = |pair: &Pair| {
            let (expert, antiexpert) = (pair.expert.map(&row).transpose()?, pair.antiexpert.map(&row).transpose()?);
            Ok(Term { alpha: pair.alpha.at(position), expert, antiexpert })
        };
        self.pairs.iter().map(term).collect()
    }

    /// α of every pair, in order.
    pub fn alphas(&self) -> impl Iterator<Item = &Schedule> {
        self.pairs.iter().map(|pair| &pair.alpha)
    }

    #[must_use]
    pub fn n_pairs(&self) -> usize {
        self.pairs.len()
    }

    /// Steers by these from now on: one for each pair, or one for all; none for what was planned.
    pub fn set_alphas(&mut self, alphas: &[Schedule]) -> Result<(), Error> {
        let n_pairs = self.pairs.len();
        if alphas.len() > 1 && alphas.len() != n_pairs {
            return Err(Error::Alphas { got: alphas.len(), n_pairs });
        }
        for (i, pair) in self.pairs.iter_mut().enumerate() {
            let asked = alphas.get(i).or(alphas.first()).unwrap_or(&pair.planned);
            pair.alpha = asked.clone();
        }
        Ok(())
    }
}

/// Tokens of the base that some lane could not be told, and that do not end a generation.
pub(super) fn never(lanes: &Lanes, n_vocab: usize, eog: &[Token]) -> Vec<Token> {
    let is_lacking = |token: Token| lanes.iter().any(|lane| lane.id(token).is_none());
    (0..n_vocab as Token).filter(|&token| is_lacking(token) && eog.binary_search(&token).is_err()).collect()
}
