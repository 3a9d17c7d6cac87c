//! A chain drafts what it is going to choose, from a row of another model.

use llama_cpp_sys_2 as sys;

use super::chain::Chain;
use super::{Error, Token};
use crate::arithmetic::row::Row;

/// A copy of a chain with the stage taken out: everything else stands as it does in the chain, random state included,
/// so that on the same candidates it would choose the same. What it does leaves the chain alone.
#[derive(Debug)]
pub struct DraftChain(Chain);

/// How a draft is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// As the chain draws, from the same random numbers.
    Alike,
    /// The likeliest that the chain's samplers leave.
    Likeliest,
}

impl Chain {
    /// A chain that drafts behind what this one has accepted so far; it takes over the memory of an old one. Refused where
    /// a sampler cannot be copied.
    pub fn drafter(&self, draw: Draw, old: Option<DraftChain>) -> Result<DraftChain, Error> {
        let mut chain = self.try_clone()?;
        if let Some(DraftChain(old)) = old {
            chain.candidates = old.candidates;
        }
        if let Some(i) = chain.stage_at() {
            chain.stage = None;
            chain.named.remove(i);
        }
        if draw == Draw::Likeliest {
            chain.named.remove(chain.named.len() - 1);
            // SAFETY: takes no argument.
            chain.named.add(unsafe { sys::llama_sampler_init_greedy() });
        }
        Ok(DraftChain(chain))
    }
}

impl DraftChain {
    /// The draft for a row of a model that may know fewer tokens than the base. An error is no failure of the chain's.
    pub fn draft(&mut self, row: Row<'_>) -> Result<Token, Error> {
        let n_vocab = self.0.n_vocab() as usize;
        self.0.candidates.fill_known(row, n_vocab);
        self.0.choose(&[])
    }

    /// Goes on behind a token.
    pub fn accept(&mut self, token: Token) -> Result<(), Error> {
        self.0.accept(token)
    }
}
