//! How far one distribution is from another.

/// The Kullback–Leibler divergence of `softmax(p)` from `softmax(q)` in nats, `Σ P · (ln P − ln Q)`, of two rows of logits
/// `[n_vocab]`. A logit of `-inf` is a probability of 0: where only `p` has it, the id adds nothing; where `q` has it and
/// `p` does not, the divergence is infinite. NaN for rows of nothing but `-inf`.
#[must_use]
pub fn kl(p: &[f32], q: &[f32]) -> f64 {
    let max = |row: &[f32]| f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let (max_p, max_q) = (max(p), max(q));
    let (mut sum_p, mut sum_q, mut sum) = (0.0, 0.0, 0.0);
    for (&p, &q) in p.iter().zip(q) {
        let (p, q) = (f64::from(p) - max_p, f64::from(q) - max_q);
        let weight = p.exp();
        sum_q += q.exp();
        if weight > 0.0 {
            sum_p += weight;
            sum += weight * (p - q);
        }
    }
    let kl = sum / sum_p - sum_p.ln() + sum_q.ln();
    // Rounding alone makes it negative; NaN stays.
    if kl < 0.0 { 0.0 } else { kl }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASKED: f32 = f32::NEG_INFINITY;

    /// Probability by probability.
    fn oracle(p: &[f32], q: &[f32]) -> f64 {
        let softmax = |row: &[f32]| {
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            row.iter().map(|&x| f64::from(x).exp() / sum).collect::<Vec<_>>()
        };
        let terms = softmax(p).into_iter().zip(softmax(q));
        terms.filter(|(p, _)| *p > 0.0).map(|(p, q)| p * (p / q).ln()).sum()
    }

    #[test]
    fn four_tokens() {
        // (½, ½) from (¼, ¾): ½ ln 2 + ½ ln ⅔.
        let ln = |x: f64| x.ln() as f32;
        let got = kl(&[0.0, 0.0], &[ln(0.25), ln(0.75)]);
        assert!((got - 0.5 * (4.0_f64 / 3.0).ln()).abs() < 1e-7, "{got}");
        for (p, q) in [
            ([0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]),
            ([5.0, -5.0, 0.5, 0.25], [0.0, 0.0, 0.0, 0.0]),
            ([MASKED, 1.0, 2.0, MASKED], [9.0, -2.0, 2.0, 1.0]),
            ([MASKED, 1.0, 2.0, 0.0], [MASKED, 2.0, 2.0, 1.0]),
        ] {
            assert!((kl(&p, &q) - oracle(&p, &q)).abs() < 1e-12, "{p:?} {q:?}");
        }
    }

    #[test]
    fn a_row_and_itself_moved_up_are_one_distribution() {
        let row: Vec<f32> = (0..4096).map(|i| (i as f32 * 0.618).sin() * 12.0).collect();
        let moved: Vec<f32> = row.iter().map(|x| x + 256.0).collect();
        assert_eq!(kl(&row, &row), 0.0);
        assert!(kl(&row, &moved) < 1e-4, "only what f32 rounds");
    }

    #[test]
    fn tails_and_masks() {
        assert_eq!(kl(&[0.0, 1.0], &[0.0, MASKED]), f64::INFINITY);
        // A tail that underflows in one row alone adds nothing, and is not infinite in the other.
        assert!((kl(&[3.0, -2000.0], &[3.0, 3.0]) - std::f64::consts::LN_2).abs() < 1e-12);
        assert!((kl(&[3.0, 3.0], &[3.0, -2000.0]) - (1001.5 - std::f64::consts::LN_2)).abs() < 1e-9);
        assert!(kl(&[MASKED; 2], &[0.0; 2]).is_nan());
    }

    #[test]
    fn a_large_vocabulary_agrees_with_the_definition() {
        let row = |step: f32| (0..151_936).map(|i| (i as f32 * step).sin() * 8.0).collect::<Vec<f32>>();
        let (p, q) = (row(0.618), row(0.414));
        assert!((kl(&p, &q) - oracle(&p, &q)).abs() < 1e-9);
    }
}
