//! Sequences whose text has ended, with what they hold: the next prompt may begin as one of them did.

use super::sequence::{Prompts, Sequence};
use super::{Ensemble, Error};

/// A sequence is taken for its content where that is this part of the prompts.
const WORTH_IT: usize = 8;

/// Idle sequences, the longest idle first.
#[derive(Debug, Default)]
pub struct Idle(Vec<Sequence>);

impl Idle {
    /// Takes a sequence back with what it holds.
    pub fn rest(&mut self, sequence: Sequence) {
        self.0.push(sequence);
    }

    /// A sequence for prompts: an idle one that holds a good part of them, else one that holds nothing, else the longest
    /// idle. Where cells are shared, what the idle one holds beyond the prompts is left to it.
    pub fn sequence_for(&mut self, ensemble: &mut Ensemble, prompts: &Prompts) -> Result<Sequence, Error> {
        let n_common = |sequence: &Sequence| sequence.n_common(prompts);
        // Of equals the longest idle: the last one that is the largest from behind.
        let closest = self.0.iter().enumerate().rev().max_by_key(|(_, sequence)| n_common(sequence));
        if let Some((i, sequence)) = closest
            && n_common(sequence) * WORTH_IT >= prompts.n_tokens()
        {
            // The last token of each lane has to be read again in any case.
            let is_cut = n_common(sequence) + ensemble.lanes().len() < sequence.n_held_by_all();
            let closest = self.0.remove(i);
            if is_cut && ensemble.shares_cells() && (ensemble.has_free() || self.forget_one(ensemble)) {
                let fork = ensemble.fork(&closest);
                self.0.insert(i.min(self.0.len()), closest);
                return fork;
            }
            return Ok(closest);
        }
        self.any_sequence(ensemble)
    }

    /// A sequence whatever it holds: one that holds nothing, else the longest idle.
    pub fn any_sequence(&mut self, ensemble: &mut Ensemble) -> Result<Sequence, Error> {
        if !ensemble.has_free() && !self.0.is_empty() {
            return Ok(self.0.remove(0));
        }
        ensemble.open()
    }

    /// Empties the sequence that was idle for longest, if there is one.
    pub fn forget_one(&mut self, ensemble: &mut Ensemble) -> bool {
        if self.0.is_empty() {
            return false;
        }
        ensemble.close(self.0.remove(0));
        true
    }

    /// Makes room for so many tokens on every lane, as far as there is something to forget; whether there is room.
    pub fn make_room(&mut self, ensemble: &mut Ensemble, n_tokens: usize) -> bool {
        while ensemble.n_room() < n_tokens {
            if !self.forget_one(ensemble) {
                return false;
            }
        }
        true
    }
}
