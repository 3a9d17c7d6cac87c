//! The base lane and its offset, kept in step.

use super::error::{Error, in_lane};
use super::offset::Side;
use super::{Offset, Role};
use crate::arithmetic::offset::{Term, add_dense, first_non_finite_logit};
use crate::arithmetic::row::Row;
use crate::llama::lane::{Lane, Outputs, Timings};
use crate::llama::{self, Token};
use crate::vocab::IdMap;

/// What each lane is given to continue: the base's tokens, then those of the offset's lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts(Vec<Vec<Token>>);

impl Prompts {
    /// What the base lane is given.
    #[must_use]
    pub fn base(&self) -> &[Token] {
        &self.0[0]
    }
}

/// A base model and the pairs that steer it.
#[derive(Debug)]
pub struct Steered {
    pub(super) base: Lane,
    pub(super) offset: Offset,
    /// Tokens that end a generation for the base or for an expert, sorted.
    pub(super) eog: Vec<Token>,
    /// Tokens of the base that some lane lacks, and that do not end a generation.
    pub(super) never: Vec<Token>,
    /// A lane lost its place and could not be rolled back.
    pub(super) out_of_step: bool,
}

impl Steered {
    #[must_use]
    pub fn base(&self) -> &Lane {
        &self.base
    }

    #[must_use]
    pub fn offset(&self) -> &Offset {
        &self.offset
    }

    /// Tokens that end a generation, for the base or for an expert.
    #[must_use]
    pub fn eog(&self) -> &[Token] {
        &self.eog
    }

    #[must_use]
    pub fn is_eog(&self, token: Token) -> bool {
        self.eog.binary_search(&token).is_ok()
    }

    /// Tokens of the base that some lane could not be told: padding, or special tokens of the base alone. None of
    /// them is chosen.
    #[must_use]
    pub fn never(&self) -> &[Token] {
        &self.never
    }

    /// Tokens that still fit into the fullest lane.
    #[must_use]
    pub fn n_left(&self) -> usize {
        self.lanes().map(|(_, lane)| lane.n_ctx() - lane.n_past()).min().unwrap_or(0)
    }

    /// Most tokens in one [`Self::decode`].
    #[must_use]
    pub fn n_rows_max(&self) -> usize {
        self.lanes().map(|(_, lane)| lane.n_outputs_max()).min().unwrap_or(1)
    }

    /// The same text for every lane, tokenised by each lane's own model.
    pub fn tokenize(&self, text: &str) -> Result<Prompts, Error> {
        let tokenize = |(role, lane): (Role, &Lane)| lane.model().tokenize(text).map_err(in_lane(role));
        self.lanes().map(tokenize).collect::<Result<_, _>>().map(Prompts)
    }

    /// The tokens that a role is given, and where its time goes; `None` for a side that is not there.
    #[must_use]
    pub fn role<'a>(&'a self, role: Role, prompts: &'a Prompts) -> Option<(&'a [Token], &'a Lane)> {
        let side = match role {
            Role::Base => Some(Side::Base),
            Role::Expert(pair) => self.offset.pairs.get(pair)?.expert,
            Role::Antiexpert(pair) => self.offset.pairs.get(pair)?.antiexpert,
        };
        Some(match side? {
            Side::Base => (prompts.base(), &self.base),
            Side::Lane(lane) => (&prompts.0[lane + 1], &self.offset.lanes[lane].lane),
        })
    }

    /// All lanes, the base first.
    pub fn lanes(&self) -> impl Iterator<Item = (Role, &Lane)> {
        let offset = self.offset.lanes.iter().map(|small| (small.role, &small.lane));
        std::iter::once((Role::Base, &self.base)).chain(offset)
    }

    /// All lanes with their ids for the base's, where those are not the same.
    fn lanes_mut(&mut self) -> impl Iterator<Item = (Role, &mut Lane, Option<&IdMap>)> {
        let offset = self.offset.lanes.iter_mut().map(|small| (small.role, &mut small.lane, small.ids.as_ref()));
        std::iter::once((Role::Base, &mut self.base, None)).chain(offset)
    }

    /// Empties every lane and decodes the prompts, in pieces; the last token of each puts out a row. `go_on` is asked
    /// before each piece; the answer is whether all was decoded.
    pub fn prefill(&mut self, prompts: &Prompts, mut go_on: impl FnMut() -> bool) -> Result<bool, Error> {
        for ((role, lane), prompt) in self.lanes().zip(&prompts.0) {
            let (n_prompt, n_ctx) = (prompt.len(), lane.n_ctx());
            if prompt.is_empty() {
                return Err(Error::EmptyPrompt { role });
            }
            if n_prompt >= n_ctx {
                return Err(Error::PromptTooLong { role, n_prompt, n_ctx });
            }
        }
        self.clear();
        // Until every lane has its prompt.
        self.out_of_step = true;
        for ((role, lane, _), prompt) in self.lanes_mut().zip(&prompts.0) {
            let n_batch = lane.n_batch();
            let mut pieces = prompt.chunks(n_batch).peekable();
            while let Some(piece) = pieces.next() {
                if !go_on() {
                    return Ok(false);
                }
                let outputs = if pieces.peek().is_some() { Outputs::None } else { Outputs::Last };
                lane.decode(piece, outputs).map_err(in_lane(role))?;
            }
        }
        self.out_of_step = false;
        Ok(true)
    }

    /// Decodes the same tokens, by the base's ids, on every lane, all rows put out. On an error no lane has moved, or
    /// [`Error::OutOfStep`] follows until the next [`Self::prefill`].
    pub fn decode(&mut self, tokens: &[Token]) -> Result<(), Error> {
        if self.out_of_step {
            return Err(Error::OutOfStep);
        }
        let mut n_submitted = 0;
        let submit = |role, lane: &mut Lane, ids: Option<&IdMap>| {
            let Some(ids) = ids else { return lane.submit(tokens, Outputs::All).map_err(in_lane(role)) };
            let own = |&token: &Token| {
                let id = ids.other(token as usize).ok_or(Error::Lacking { role, token })?;
                Ok(id as Token)
            };
            let tokens = tokens.iter().map(own).collect::<Result<Vec<_>, Error>>()?;
            lane.submit(&tokens, Outputs::All).map_err(in_lane(role))
        };
        let submit = |role, lane: &mut Lane, ids: Option<&IdMap>| {
            submit(role, lane, ids)?;
            n_submitted += 1;
            Ok(())
        };
        if let Err(error) = self.each_in_order(submit) {
            let _ = self.each_in_order(|_, lane, _| {
                if n_submitted > 0 {
                    n_submitted -= 1;
                    lane.roll_back(lane.n_past() - tokens.len());
                }
                Ok(())
            });
            let lost = self.lanes().any(|(_, lane)| lane.lost());
            self.out_of_step = lost;
            return Err(error);
        }
        self.lanes_mut().for_each(|(_, lane, _)| lane.wait());
        Ok(())
    }

    /// Lanes on devices first: they compute while the CPU lanes do.
    fn each_in_order(
        &mut self,
        mut f: impl FnMut(Role, &mut Lane, Option<&IdMap>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for on_device in [true, false] {
            for (role, lane, ids) in self.lanes_mut().filter(|(_, lane, _)| lane.model().uses_devices() == on_device) {
                f(role, lane, ids)?;
            }
        }
        Ok(())
    }

    /// Empties every lane.
    pub fn clear(&mut self) {
        for (_, lane, _) in self.lanes_mut() {
            lane.roll_back(0);
        }
        self.out_of_step = false;
    }

    pub fn reset_timings(&mut self) {
        self.lanes_mut().for_each(|(_, lane, _)| lane.reset_timings());
    }

    /// Each role that there is, with its lane's timings.
    pub fn timings(&self) -> impl Iterator<Item = (Role, Timings)> {
        self.lanes().map(|(role, lane)| (role, lane.timings()))
    }

    /// Row `i` of the last decode: the base's logits `[n_vocab]` and the terms to add to them.
    pub fn row(&self, i: usize) -> Result<(&[f32], Vec<Term<'_>>), Error> {
        let base = self.base.row(i).map_err(in_lane(Role::Base))?;
        Ok((base, self.offset.terms(i, base)?))
    }

    /// Row `i` of every lane, the base's first, by the base's ids.
    pub fn rows(&self, i: usize) -> impl Iterator<Item = Result<(Role, Row<'_>), Error>> {
        let base = self.base.row(i).map_err(in_lane(Role::Base)).map(|row| (Role::Base, Row::from(row)));
        let small = self.offset.lanes.iter().map(move |small| small.row(i).map(|row| (small.role, row)));
        std::iter::once(base).chain(small)
    }

    /// Refuses a row `i` in which any lane has a logit that is not finite.
    pub fn check_finite(&self, i: usize) -> Result<(), Error> {
        for (role, lane) in self.lanes() {
            let row = lane.row(i).map_err(in_lane(role))?;
            if let Some(id) = first_non_finite_logit(row) {
                return Err(in_lane(role)(llama::Error::NotFinite { id, value: row[id] }));
            }
        }
        Ok(())
    }

    /// Row `i` composed: what the stage makes of the base's logits, as a dense row.
    pub fn composed(&self, i: usize, row: &mut Vec<f32>) -> Result<(), Error> {
        let (base, terms) = self.row(i)?;
        row.clear();
        row.extend_from_slice(base);
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
