//! The base lane and its offset, kept in step.

use std::ops::{Deref, DerefMut};

use super::error::Error;
use super::lanes::{Cast, LaneRef, Lanes};
use super::{Offset, Role};
use crate::arithmetic::offset::{Term, add_dense};
use crate::arithmetic::plausibility;
use crate::llama::{self, Token};
use crate::prompt::Conversation;
use crate::recipe::Schedule;

/// What each lane is given to continue, by its own ids; the base's comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts(pub(super) Vec<Vec<Token>>);

impl Prompts {
    /// What the base lane is given.
    #[must_use]
    pub fn base(&self) -> &[Token] {
        &self.0[0]
    }
}

/// A base model and the pairs that steer it. Its lanes are those of [`Lanes`], the base's first.
#[derive(Debug)]
pub struct Steered {
    pub(super) lanes: Lanes,
    pub(super) offset: Offset,
    pub(super) ends: Ends,
    /// The base by itself, on a sequence of its own.
    pub(super) alone: Option<(Cast, Ends)>,
}

/// Tokens that are not like others.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// They end a generation for the base or for an expert; sorted.
    pub eog: Vec<Token>,
    /// Tokens of the base that some lane lacks, and that do not end a generation.
    pub never: Vec<Token>,
}

impl Deref for Steered {
    type Target = Lanes;
    fn deref(&self) -> &Lanes {
        &self.lanes
    }
}

impl DerefMut for Steered {
    fn deref_mut(&mut self) -> &mut Lanes {
        &mut self.lanes
    }
}

impl Steered {
    #[must_use]
    pub fn base(&self) -> LaneRef<'_> {
        self.lanes.get(0)
    }

    #[must_use]
    pub fn offset(&self) -> &Offset {
        &self.offset
    }

    /// Steers by these from now on: one α for each pair, or one for all; none for what was planned.
    pub fn set_alphas(&mut self, alphas: &[Schedule]) -> Result<(), Error> {
        self.offset.set_alphas(alphas)
    }

    /// Tokens that end a generation, for the base or for an expert.
    #[must_use]
    pub fn eog(&self) -> &[Token] {
        &self.ends.eog
    }

    #[must_use]
    pub fn is_eog(&self, token: Token) -> bool {
        self.ends.eog.binary_search(&token).is_ok()
    }

    /// Tokens of the base that some lane could not be told: padding, or special tokens of the base alone. None of
    /// them is chosen.
    #[must_use]
    pub fn never(&self) -> &[Token] {
        &self.ends.never
    }

    /// What every lane is given to continue a text.
    pub fn tokenize(&self, text: &str) -> Result<Prompts, Error> {
        self.prompts(&Conversation::prompt(text))
    }

    /// The tokens that a role is given, and its lane; `None` for a side that is not there.
    #[must_use]
    pub fn role<'a>(&'a self, role: Role, prompts: &'a Prompts) -> Option<(&'a [Token], LaneRef<'a>)> {
        let lane = self.place(role)?;
        Some((&prompts.0[lane], self.lanes.get(lane)))
    }

    /// A role's lane; several roles may have one together.
    #[must_use]
    pub fn lane(&self, role: Role) -> Option<LaneRef<'_>> {
        self.place(role).map(|lane| self.lanes.get(lane))
    }

    fn place(&self, role: Role) -> Option<usize> {
        match role {
            Role::Base => Some(0),
            Role::Expert(pair) => self.offset.pairs.get(pair)?.expert,
            Role::Antiexpert(pair) => self.offset.pairs.get(pair)?.antiexpert,
        }
    }

    /// Index of the first expert's lane that is not the base's, which is 0.
    #[must_use]
    pub fn expert(&self) -> Option<usize> {
        self.offset.pairs.iter().filter_map(|pair| pair.expert).find(|&lane| lane > 0)
    }

    /// Runs `f` on the base alone, on a copy of what the base lane holds. The lanes hold afterwards what they held; their
    /// rows are gone until the next [`Lanes::prefill`]. `None` where the plan did not keep a sequence for it.
    pub fn base_alone<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let mut alone = self.alone.take()?;
        let (base, copy) = (&self.lanes.cast.lanes[0], &mut alone.0.lanes[0]);
        self.lanes.contexts[base.context].copy(base.seq, copy.seq);
        copy.held.clone_from(&base.held);
        let steered = std::mem::take(&mut self.offset);
        let swap = |this: &mut Self, alone: &mut (Cast, Ends)| {
            std::mem::swap(&mut this.lanes.cast, &mut alone.0);
            std::mem::swap(&mut this.ends, &mut alone.1);
        };
        swap(self, &mut alone);
        let result = f(self);
        // Its cells are needed by the others.
        self.lanes.clear();
        swap(self, &mut alone);
        self.offset = steered;
        self.alone = Some(alone);
        Some(result)
    }

    /// Row `i` of the last decode: the base's logits `[n_vocab]` and the terms to add to them.
    pub fn row(&self, i: usize) -> Result<(&[f32], Vec<Term<'_>>), Error> {
        Ok((self.lanes.logits(0, i)?, self.offset.terms(&self.lanes, i)?))
    }

    /// Row `i` composed: what the stage makes of the base's logits, as a dense row. `plausibility` is the stage's τ.
    pub fn composed(&self, i: usize, plausibility: f32, row: &mut Vec<f32>) -> Result<(), Error> {
        let (base, terms) = self.row(i)?;
        row.clear();
        row.extend_from_slice(base);
        plausibility::mask(row, plausibility);
        add_dense(row, &terms).map_err(|error| self.blame(i, llama::stage::Failure::NotFinite { id: error.id }.into()))
    }

    /// An error of the chain at row `i`, with the role to blame where it can be told.
    #[must_use]
    pub fn blame(&self, i: usize, error: llama::Error) -> Error {
        let damaged = matches!(error, llama::Error::Stage(llama::stage::Failure::NotFinite { .. }));
        if damaged && let Err(blamed) = self.check_finite(i) {
            return blamed;
        }
        // The chain checks the base's row; everything else is its own.
        match error {
            llama::Error::NotFinite { .. } => Error::Lane { role: Role::Base, source: error },
            error => Error::Chain(error),
        }
    }
}
