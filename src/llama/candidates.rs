//! llama.cpp's candidate array: what a chain works on.

use llama_cpp_sys_2::{llama_token_data, llama_token_data_array};

use super::stage::Failure;
use super::{Error, Token};
use crate::arithmetic::offset::{self, Candidate, Damaged, Exponents, NotFinite, Term};
use crate::arithmetic::row::Row;

/// Room for one row of candidates, reused from position to position.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    data: Vec<llama_token_data>,
}

impl Candidate for llama_token_data {
    #[inline]
    fn id(&self) -> usize {
        self.id as usize
    }
    #[inline]
    fn logit_mut(&mut self) -> &mut f32 {
        &mut self.logit
    }
}

impl Candidates {
    /// Takes a row of the base's logits `[n_vocab]`, in id order.
    pub(super) fn fill(&mut self, row: &[f32]) -> Result<(), Error> {
        let mut exponents = Exponents::default();
        self.data.clear();
        self.data.extend(row.iter().zip(0..).map(|(&logit, id)| {
            exponents.see(logit);
            llama_token_data { id, logit, p: 0.0 }
        }));
        if exponents.all_finite() {
            return Ok(());
        }
        let id = row.iter().position(|logit| !logit.is_finite()).unwrap_or_default();
        Err(Error::NotFinite { id, value: row[id] })
    }

    /// Takes some ids of a row, in their order.
    pub(super) fn fill_among(&mut self, row: &[f32], ids: &[Token]) -> Result<(), Error> {
        self.data.clear();
        for &id in ids {
            let logit = row.get(id as usize).copied().unwrap_or(f32::NAN);
            if !logit.is_finite() {
                return Err(Error::NotFinite { id: id as usize, value: logit });
            }
            self.data.push(llama_token_data { id, logit, p: 0.0 });
        }
        Ok(())
    }

    /// Takes a row of the base's logits, in id order, with the offset added already, where that is one pass.
    pub(super) fn fill_steered(&mut self, row: &[f32], terms: &[Term<'_>]) -> Option<Result<(), Error>> {
        let entry = |id, logit| llama_token_data { id: id as Token, logit, p: 0.0 };
        let done = offset::compose(row, terms, &mut self.data, entry)?;
        Some(done.map_err(|damaged| match damaged {
            Damaged::Base { id } => Error::NotFinite { id, value: row[id] },
            Damaged::Offset(NotFinite { id }) => Failure::NotFinite { id }.into(),
        }))
    }

    /// Takes the logits that another model has for the base's tokens, those that are numbers.
    pub(super) fn fill_known(&mut self, row: Row<'_>, n_vocab: usize) {
        self.data.clear();
        let known = (0..n_vocab).filter_map(|id| Some((id, row.get(id).filter(|logit| logit.is_finite())?)));
        self.data.extend(known.map(|(id, logit)| llama_token_data { id: id as Token, logit, p: 0.0 }));
    }

    /// Drops what was masked. Some of llama.cpp's samplers (typical, Mirostat) stumble over a logit of −inf.
    pub(super) fn drop_masked(&mut self) {
        self.data.retain(|candidate| candidate.logit > f32::NEG_INFINITY);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The array as llama.cpp wants it; it points into the candidates.
    pub(super) fn array(&mut self) -> llama_token_data_array {
        llama_token_data_array { data: self.data.as_mut_ptr(), size: self.data.len(), selected: -1, sorted: false }
    }
}
