//! The formula, in one place: `logits = base + Σ_k (a_k · expert_k − b_k · antiexpert_k)`, where `a = b = α` unless
//! somebody asks for something else.
//!
//! Proxy-tuning (Liu et al. 2024, arXiv 2401.08565, equation 1), the same sum as `DExperts` (Liu et al. 2021, arXiv
//! 2105.03023) with several pairs. Constants that differ between a model's logits and its log-probabilities cancel
//! in the softmax, so raw logits serve. A weight `w` of the base other than 1 is one more term: `w − 1` times its row.

use super::row::Row;

/// One pair at one position: `a · expert − b · antiexpert`, each side a row of raw logits.
///
/// A missing side counts as zero: expert alone is a product of experts, antiexpert alone is contrastive decoding.
/// Rows may be shorter or longer than the base's: an id that either present side lacks gets no offset, an id that
/// only they have is never asked for.
#[derive(Debug, Clone, Copy)]
pub struct Term<'a> {
    pub a: f32,
    pub b: f32,
    pub expert: Option<Row<'a>>,
    pub antiexpert: Option<Row<'a>>,
}

impl<'a> Term<'a> {
    /// `alpha · (expert − antiexpert)`
    #[must_use]
    pub fn pair(alpha: f32, expert: Option<Row<'a>>, antiexpert: Option<Row<'a>>) -> Self {
        Self { a: alpha, b: alpha, expert, antiexpert }
    }

    /// Ids from here on have no offset; `n_vocab` when there is no side at all.
    fn n_ids(&self, n_vocab: usize) -> usize {
        let n_ids = |side: Option<Row<'_>>| side.map_or(n_vocab, |row| row.n_ids());
        n_vocab.min(n_ids(self.expert)).min(n_ids(self.antiexpert))
    }

    /// The offset of one id. Zero where a present side does not have the id.
    #[inline]
    fn at(&self, id: usize) -> f32 {
        let logit = |side: Option<Row<'_>>| side.map_or(Some(0.0), |row| row.get(id));
        match (logit(self.expert), logit(self.antiexpert)) {
            (Some(expert), Some(antiexpert)) if self.a == self.b => self.a * (expert - antiexpert),
            (Some(expert), Some(antiexpert)) => self.a * expert - self.b * antiexpert,
            _ => 0.0,
        }
    }

    /// The offsets of the first `n` ids, at most [`Self::n_ids`]: the dense kernel, where rows are in order.
    #[inline]
    fn each(&self, n: usize, mut f: impl FnMut(usize, f32)) {
        let Self { a: alpha, b: beta, .. } = *self;
        let sides = [self.expert, self.antiexpert];
        if sides.into_iter().flatten().any(|row| row.in_order().is_none()) {
            (0..n).for_each(|id| f(id, self.at(id)));
            return;
        }
        match sides.map(|side| side.and_then(|row| row.in_order()).map(|row| &row[..n])) {
            [Some(expert), Some(antiexpert)] if alpha == beta => {
                for (id, (e, a)) in expert.iter().zip(antiexpert).enumerate() {
                    f(id, alpha * (e - a));
                }
            }
            [Some(expert), Some(antiexpert)] => {
                for (id, (e, a)) in expert.iter().zip(antiexpert).enumerate() {
                    f(id, alpha * e - beta * a);
                }
            }
            [Some(expert), None] => {
                for (id, e) in expert.iter().enumerate() {
                    f(id, alpha * e);
                }
            }
            [None, Some(antiexpert)] => {
                for (id, a) in antiexpert.iter().enumerate() {
                    f(id, beta * (0.0 - a));
                }
            }
            [None, None] => {}
        }
    }
}

/// A logit together with the token it belongs to, as llama.cpp's candidates have it.
pub trait Candidate {
    fn id(&self) -> usize;
    fn logit_mut(&mut self) -> &mut f32;
}

/// An offset is NaN or infinite, since a logit of a small model is; nothing was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite {
    pub id: usize,
}

/// What is NaN or infinite, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damaged {
    Base { id: usize },
    Offset(NotFinite),
}

/// Adds the offset to `row[id]` for every id of a dense row `[n_vocab]`; leaves the row alone on an error.
pub fn add_dense(row: &mut [f32], terms: &[Term<'_>]) -> Result<(), NotFinite> {
    check(row.len(), terms)?;
    for term in terms {
        let n = term.n_ids(row.len());
        let row = &mut row[..n];
        term.each(row.len(), |id, offset| row[id] += offset);
    }
    Ok(())
}

/// The base's logits with the offset added, as candidates in id order: the formula in one pass. `None` where it takes
/// more than one: unless there is one pair of one α, both sides in the base's own ids and no shorter than `row`.
pub fn compose<C>(
    row: &[f32],
    terms: &[Term<'_>],
    out: &mut Vec<C>,
    candidate: impl Fn(usize, f32) -> C,
) -> Option<Result<(), Damaged>> {
    let [Term { a: alpha, b, expert, antiexpert }] = terms else { return None };
    if alpha != b {
        return None;
    }
    let expert = expert.as_ref()?.in_order()?.get(..row.len())?;
    let antiexpert = antiexpert.as_ref()?.in_order()?.get(..row.len())?;
    if out.len() != row.len() {
        out.clear();
        out.extend(row.iter().enumerate().map(|(id, &logit)| candidate(id, logit)));
    }
    let (mut base, mut offsets) = (Exponents::default(), Exponents::default());
    // Over what is there already: that is vectorised, and pushing is not.
    for (id, (((entry, logit), e), a)) in out.iter_mut().zip(row).zip(expert).zip(antiexpert).enumerate() {
        let offset = alpha * (e - a);
        base.see(*logit);
        offsets.see(offset);
        *entry = candidate(id, logit + offset);
    }
    Some(if !base.all_finite() {
        Err(Damaged::Base { id: row.iter().position(|logit| !logit.is_finite()).unwrap_or_default() })
    } else if !offsets.all_finite() {
        let is_damaged = |(e, a): (&f32, &f32)| !(alpha * (e - a)).is_finite();
        let id = expert.iter().zip(antiexpert).position(is_damaged).unwrap_or_default();
        Err(Damaged::Offset(NotFinite { id }))
    } else {
        Ok(())
    })
}

/// Adds the offset to every candidate by its token id; leaves the candidates alone on an error.
///
/// A full array in id order, which is what a chain starts from, takes the dense kernel; an array that other
/// samplers have sorted or truncated goes id by id.
pub fn add_by_id<C: Candidate>(candidates: &mut [C], terms: &[Term<'_>]) -> Result<(), NotFinite> {
    if terms.is_empty() {
        return Ok(());
    }
    if in_id_order(candidates) {
        check(candidates.len(), terms)?;
        for term in terms {
            let n = term.n_ids(candidates.len());
            let row = &mut candidates[..n];
            term.each(row.len(), |id, offset| *row[id].logit_mut() += offset);
        }
        return Ok(());
    }
    check_each(candidates, terms)?;
    for candidate in candidates {
        for term in terms {
            let offset = term.at(candidate.id());
            *candidate.logit_mut() += offset;
        }
    }
    Ok(())
}

/// Refuses terms with an offset that is not finite for one of the candidates.
pub fn check_by_id<C: Candidate>(candidates: &[C], terms: &[Term<'_>]) -> Result<(), NotFinite> {
    if in_id_order(candidates) { check(candidates.len(), terms) } else { check_each(candidates, terms) }
}

fn check_each<C: Candidate>(candidates: &[C], terms: &[Term<'_>]) -> Result<(), NotFinite> {
    let finite = |id: usize| terms.iter().all(|term| term.at(id).is_finite());
    match candidates.iter().find(|candidate| !finite(candidate.id())) {
        Some(candidate) => Err(NotFinite { id: candidate.id() }),
        None => Ok(()),
    }
}

/// Looks at all of them, without a branch: faster than stopping at the first that is elsewhere.
fn in_id_order<C: Candidate>(candidates: &[C]) -> bool {
    candidates.iter().zip(0..).fold(0, |moved, (candidate, i)| moved | (candidate.id() ^ i)) == 0
}

/// Refuses terms with an offset that is not finite among the first `n_vocab` ids.
fn check(n_vocab: usize, terms: &[Term<'_>]) -> Result<(), NotFinite> {
    for term in terms {
        let mut exponents = Exponents::default();
        term.each(term.n_ids(n_vocab), |_, offset| exponents.see(offset));
        if !exponents.all_finite() {
            let id = (0..n_vocab).find(|&id| !term.at(id).is_finite()).unwrap_or_default();
            return Err(NotFinite { id });
        }
    }
    Ok(())
}

/// The first id of a row whose logit is NaN or infinite.
#[must_use]
pub fn first_non_finite_logit(row: &[f32]) -> Option<usize> {
    let mut exponents = Exponents::default();
    for &logit in row {
        exponents.see(logit);
    }
    if exponents.all_finite() {
        return None;
    }
    row.iter().position(|logit| !logit.is_finite())
}

/// Whether every number seen was finite: integer arithmetic without a branch.
#[derive(Default)]
pub(crate) struct Exponents(u32);

impl Exponents {
    #[inline]
    pub(crate) fn see(&mut self, x: f32) {
        // An exponent of all ones (NaN or infinity) plus one carries into the sign bit; no other exponent does.
        self.0 |= (x.to_bits() & 0x7f80_0000).wrapping_add(0x0080_0000);
    }

    pub(crate) fn all_finite(&self) -> bool {
        self.0 & 0x8000_0000 == 0
    }
}

#[cfg(test)]
mod tests;
