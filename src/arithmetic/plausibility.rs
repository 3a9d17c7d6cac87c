//! The plausibility cut of contrastive decoding (Li et al. 2023, arXiv 2210.15097, equation 2): only tokens of at
//! least τ times the most likely one's probability stay, as the base sees it before anything is added.

use super::offset::Candidate;
use super::softmax;

/// The lowest logit that stays where the highest is `max`: `max + ln τ`.
#[must_use]
pub fn threshold(max: f32, tau: f32) -> f32 {
    max + tau.ln()
}

/// Masks the entries of a dense row that are not plausible with −inf. `tau` of 0 cuts nothing.
pub fn mask(row: &mut [f32], tau: f32) {
    if tau <= 0.0 {
        return;
    }
    let lowest = threshold(row.iter().copied().fold(f32::NEG_INFINITY, f32::max), tau);
    row.iter_mut().filter(|logit| **logit < lowest).for_each(|logit| *logit = f32::NEG_INFINITY);
}

/// Moves the plausible candidates to the front, in their order, and says how many they are. The others are dropped
/// rather than masked, as llama.cpp's truncating samplers do it: some samplers behind stumble over −inf.
pub fn keep<C: Candidate + Copy>(candidates: &mut [C], tau: f32) -> usize {
    if tau <= 0.0 {
        return candidates.len();
    }
    let max = candidates.iter_mut().map(|candidate| *candidate.logit_mut()).fold(f32::NEG_INFINITY, f32::max);
    let lowest = threshold(max, tau);
    let mut n_kept = 0;
    for i in 0..candidates.len() {
        // Whatever cannot be compared stays: it is not this function's to judge.
        if *candidates[i].logit_mut() < lowest {
            continue;
        }
        candidates[n_kept] = candidates[i];
        n_kept += 1;
    }
    n_kept
}

/// The loss of a token, in nats, where `row` is cut at each of some τ, and whether the cut takes the token away. A cut
/// leaves some tokens without any probability, so that a share `epsilon` of the base's distribution is mixed in:
/// `−ln((1 − ε) · p_cut + ε · p_base)`. `row` and `base` are `[n_vocab]`; every τ is of 0 to 1.
#[must_use]
pub fn losses_behind_cuts(base: &[f32], row: &[f32], token: usize, taus: &[f32], epsilon: f64) -> Vec<(f64, bool)> {
    let max = base.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let of_base = softmax::logprob(base, token).exp();
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let lowest: Vec<f32> = taus.iter().map(|&tau| threshold(max, tau)).collect();
    let mut masses = vec![0.0_f64; taus.len()];
    for (of_base, logit) in base.iter().zip(row) {
        let p = f64::from((logit - highest).exp());
        for (mass, lowest) in masses.iter_mut().zip(&lowest) {
            *mass += if of_base >= lowest { p } else { 0.0 };
        }
    }
    let own = f64::from((row[token] - highest).exp());
    let loss = |(lowest, mass): (&f32, &f64)| {
        let is_cut = base[token] < *lowest;
        let p = if is_cut || *mass <= 0.0 { 0.0 } else { own / mass };
        (-((1.0 - epsilon) * p + epsilon * of_base).ln(), is_cut)
    };
    lowest.iter().zip(&masses).map(loss).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Entry(usize, f32);

    impl Candidate for Entry {
        fn id(&self) -> usize {
            self.0
        }
        fn logit_mut(&mut self) -> &mut f32 {
            &mut self.1
        }
    }

    /// Probabilities 0.5, 0.3, 0.15, 0.05 as logits, shifted.
    fn row() -> [f32; 4] {
        [0.15_f32, 0.5, 0.05, 0.3].map(|p| p.ln() + 7.0)
    }

    #[test]
    fn tau_is_a_share_of_the_best_probability() {
        for (tau, kept) in
            [(0.0, [0, 1, 2, 3].as_slice()), (0.09, &[0, 1, 2, 3]), (0.25, &[0, 1, 3]), (0.5, &[1, 3]), (1.0, &[1])]
        {
            let mut dense = row();
            mask(&mut dense, tau);
            let stay: Vec<_> = (0..4).filter(|&i| dense[i] > f32::NEG_INFINITY).collect();
            assert_eq!(stay, kept, "τ = {tau}");
            assert!(stay.iter().all(|&i| dense[i] == row()[i]));
            let mut candidates: Vec<_> = row().into_iter().enumerate().map(|(id, logit)| Entry(id, logit)).collect();
            let n = keep(&mut candidates, tau);
            assert_eq!(candidates[..n].iter().map(|entry| entry.0).collect::<Vec<_>>(), kept, "τ = {tau}");
        }
    }

    #[test]
    fn losses_behind_cuts_are_those_of_masked_rows() {
        let (base, row) = (row(), [0.0_f32, 1.0, 3.0, -1.0]);
        for token in 0..4 {
            let found = losses_behind_cuts(&base, &row, token, &[0.0, 0.25, 0.5], 0.01);
            for (tau, (loss, is_cut)) in [0.0, 0.25, 0.5].into_iter().zip(found) {
                let mut cut = base;
                mask(&mut cut, tau);
                let masked: Vec<_> =
                    row.iter().zip(cut).map(|(x, cut)| if cut.is_finite() { *x } else { f32::NEG_INFINITY }).collect();
                let p = 0.99 * softmax::logprob(&masked, token).exp() + 0.01 * softmax::logprob(&base, token).exp();
                assert!((loss + p.ln()).abs() < 1e-5, "τ = {tau}, token {token}: {loss} for {}", -p.ln());
                assert_eq!(is_cut, !cut[token].is_finite());
            }
        }
    }

    #[test]
    fn what_is_masked_already_never_stays_and_nothing_is_fine() {
        let mut candidates = [Entry(4, f32::NEG_INFINITY), Entry(2, 1.0), Entry(9, 0.0)];
        assert_eq!(keep(&mut candidates, 0.1), 2);
        assert_eq!(keep::<Entry>(&mut [], 0.1), 0);
    }
}
