//! What a step put out: each lane's rows, and what they add up to.
//!
//! Rows are counted by the position of the answer that they predict, from 0 behind the prompt. They last until the next
//! step of their context.

use super::Ensemble;
use super::error::{Error, in_lane, on_server};
use super::sequence::Sequence;
use crate::arithmetic::offset::{Term, add_dense, first_non_finite_logit};
use crate::arithmetic::plausibility;
use crate::arithmetic::row::Row;
use crate::llama::{self, stage};
use crate::remote;

/// One position's rows of every lane, copied out of the contexts.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub logits: Vec<Vec<f32>>,
    pub position: usize,
}

impl Ensemble {
    /// A lane's logits, by its own ids.
    pub fn logits<'a>(&'a self, sequence: &'a Sequence, lane: usize, position: usize) -> Result<&'a [f32], Error> {
        let context = self.context(lane);
        let track = &sequence.tracks[lane];
        let in_lane = in_lane(self.lanes()[lane].role);
        let at = (track.n_prompt + position).checked_sub(track.first_row + 1);
        let at = at.ok_or_else(|| in_lane(llama::Error::Row { row: position, n_rows: 0 }))?;
        match at.checked_sub(track.n_kept) {
            None => Ok(&track.kept[at * context.n_vocab()..][..context.n_vocab()]),
            Some(at) => context.row(track.seq, at).map_err(|failure| failure.of(self.lanes()[lane].role)),
        }
    }

    /// What the server that holds the base told of a position, where one is sampled from.
    pub fn told(&self, sequence: &Sequence, position: usize) -> Result<Option<&remote::Row>, Error> {
        let lane = sequence.sampled();
        let Some(context) = self.context(lane).remote() else { return Ok(None) };
        let track = &sequence.tracks[lane];
        let at = (track.n_prompt + position).checked_sub(track.first_row + 1).unwrap_or(usize::MAX);
        let role = self.lanes()[lane].role;
        context.row(track.seq, at).map(Some).map_err(on_server(role))
    }

    /// The same by the base's ids.
    pub fn lane_row<'a>(&'a self, sequence: &'a Sequence, lane: usize, position: usize) -> Result<Row<'a>, Error> {
        Ok(self.lanes()[lane].row(self.logits(sequence, lane, position)?))
    }

    /// What a token is chosen from: the logits `[n_vocab]` of the lane that is sampled from, and the terms to add to them.
    pub fn row<'a>(&'a self, sequence: &'a Sequence, position: usize) -> Result<(&'a [f32], Vec<Term<'a>>), Error> {
        let logits = self.logits(sequence, sequence.sampled(), position)?;
        Ok((logits, self.terms(sequence, position)?))
    }

    /// What is to be added to the base's logits.
    pub fn terms<'a>(&'a self, sequence: &'a Sequence, position: usize) -> Result<Vec<Term<'a>>, Error> {
        if !sequence.is_steered() {
            return Ok(Vec::new());
        }
        self.topology.terms(&sequence.weights, position, |lane| self.lane_row(sequence, lane, position))
    }

    /// What the stage makes of a position, as a dense row. `plausibility` is the stage's τ.
    pub fn composed(
        &self,
        sequence: &Sequence,
        position: usize,
        plausibility: f32,
        row: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let (base, terms) = self.row(sequence, position)?;
        row.clear();
        row.extend_from_slice(base);
        plausibility::mask(row, plausibility);
        add_dense(row, &terms).map_err(|error| {
            let failure = stage::Failure::NotFinite { id: error.id };
            self.blame(sequence, position, failure.into())
        })
    }

    /// Refuses a position at which any lane has a logit that is not finite.
    pub fn check_finite(&self, sequence: &Sequence, position: usize) -> Result<(), Error> {
        for lane in sequence.awake() {
            let row = self.logits(sequence, lane, position)?;
            if let Some(id) = first_non_finite_logit(row) {
                return Err(in_lane(self.lanes()[lane].role)(llama::Error::NotFinite { id, value: row[id] }));
            }
        }
        Ok(())
    }

    /// An error of the chain at a position, with the role to blame where it can be told.
    #[must_use]
    pub fn blame(&self, sequence: &Sequence, position: usize, error: llama::Error) -> Error {
        let damaged = matches!(error, llama::Error::Stage(stage::Failure::NotFinite { .. }));
        if damaged && let Err(blamed) = self.check_finite(sequence, position) {
            return blamed;
        }
        // The chain checks the row that it is given; everything else is its own.
        match error {
            llama::Error::NotFinite { .. } => in_lane(self.lanes()[sequence.sampled()].role)(error),
            error => Error::Chain(error),
        }
    }

    /// The rows behind a steered sequence's last token, every lane's, each finite.
    pub fn copy_rows(&self, sequence: &Sequence) -> Result<Rows, Error> {
        let position = sequence.n_generated();
        self.check_finite(sequence, position)?;
        let logits = (0..self.lanes().len()).map(|lane| self.logits(sequence, lane, position).map(<[f32]>::to_vec));
        Ok(Rows { logits: logits.collect::<Result<_, _>>()?, position })
    }
}

impl super::Topology {
    /// What rows that were copied add to the base's logits.
    pub fn terms_of<'a>(&'a self, weights: &super::Weights, rows: &'a Rows) -> Result<Vec<Term<'a>>, Error> {
        self.terms(weights, rows.position, |lane| Ok(self.lanes()[lane].row(&rows.logits[lane])))
    }
}
