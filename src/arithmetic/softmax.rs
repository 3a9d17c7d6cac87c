//! Log-probabilities from logits.

/// `ln Σ exp(row)`, summed in f64 around the maximum. `-inf` for an empty row or one of nothing but `-inf`.
#[must_use]
pub fn log_sum_exp(row: &[f32]) -> f64 {
    let max = max(row);
    if max == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    // Lanes of f32 exponentials (|relative error| < 1e-7) in short runs, the runs summed in f64.
    let sum: f64 = row.chunks(256).map(|run| f64::from(run.iter().map(|logit| (logit - max).exp()).sum::<f32>())).sum();
    f64::from(max) + sum.ln()
}

/// `ln Σ exp(values)`: the log of a sum of probabilities, from their logs. `-inf` for none.
#[must_use]
pub fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY { max } else { max + values.map(|value| (value - max).exp()).sum::<f64>().ln() }
}

/// The natural log of the probability that the softmax of `row` gives `id`.
#[must_use]
pub fn logprob(row: &[f32], id: usize) -> f64 {
    f64::from(row[id]) - log_sum_exp(row)
}

/// `ln Σ exp(row)`, and how far the softmax of `row` is from that of `other`, in nats: the Kullback–Leibler divergence
/// `Σ p (ln p − ln q)`. `other_sum` is the [`log_sum_exp`] of `other`, which has no `-inf`; one of `row` is no token.
#[must_use]
pub fn divergence(row: &[f32], other: &[f32], other_sum: f64) -> (f64, f64) {
    let max = max(row);
    let (mut mass, mut gap) = (0.0, 0.0);
    for (row, other) in row.chunks(256).zip(other.chunks(256)) {
        let (mut run, mut gaps) = (0.0_f32, 0.0_f32);
        for (x, y) in row.iter().zip(other) {
            let p = (x - max).exp();
            run += p;
            gaps += if p > 0.0 { p * (x - y) } else { 0.0 };
        }
        mass += f64::from(run);
        gap += f64::from(gaps);
    }
    let (sum, gap): (f64, f64) = (f64::from(max) + mass.ln(), gap / mass);
    (sum, (gap - sum + other_sum).max(0.0))
}

/// The probabilities that the softmax of `row` gives a logit of it and the highest one, within 1e-6 times the number of
/// logits: what is far below the highest is not looked at closer, which makes it cheap.
#[must_use]
pub fn probabilities(row: &[f32], logit: f32) -> (f32, f32) {
    const FAR: f32 = 14.0;
    let max = max(row);
    let sum: f32 = row.iter().map(|x| x - max).filter(|x| *x > -FAR).map(f32::exp).sum();
    ((logit - max).exp() / sum, sum.recip())
}

/// The id with the highest logit, the lowest id among equals; `None` for an empty row.
#[must_use]
pub fn argmax(row: &[f32]) -> Option<usize> {
    let max = max(row);
    row.iter().position(|&logit| logit == max)
}

/// The ids of the `n` highest logits, best first, equal logits by id.
#[must_use]
pub fn top(row: &[f32], n: usize) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..row.len()).collect();
    let better = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
    if n < ids.len() {
        ids.select_nth_unstable_by(n, better);
        ids.truncate(n);
    }
    ids.sort_unstable_by(better);
    ids
}

fn max(row: &[f32]) -> f32 {
    row.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oracle(row: &[f32]) -> f64 {
        let max = row.iter().copied().map(f64::from).fold(f64::NEG_INFINITY, f64::max);
        max + row.iter().map(|&x| (f64::from(x) - max).exp()).sum::<f64>().ln()
    }

    #[test]
    fn four_tokens() {
        let row = [0.0, 1.0, 2.0, 3.0];
        assert!((log_sum_exp(&row) - 3.440_189_698_561_195_6).abs() < 1e-7);
        assert!((logprob(&row, 3) - -0.440_189_698_561_195_6).abs() < 1e-7);
        assert_eq!(argmax(&row), Some(3));
        assert_eq!(top(&row, 2), [3, 2]);
    }

    #[test]
    fn tails_and_masks() {
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 4]), f64::NEG_INFINITY);
        for row in [[1000.0, -1000.0, 0.0, 5.0], [-1e30, -1e30, -1e30, -1e30], [f32::NEG_INFINITY, 2.0, 2.0, -80.0]] {
            assert!((log_sum_exp(&row) - oracle(&row)).abs() <= 1e-6 * oracle(&row).abs().max(1.0), "{row:?}");
        }
    }

    #[test]
    fn a_large_vocabulary_agrees_with_f64() {
        let row: Vec<f32> = (0..151_936).map(|i| ((i as f32 * 0.618).sin() * 8.0) - 4.0).collect();
        assert!((log_sum_exp(&row) - oracle(&row)).abs() < 1e-5);
    }

    #[test]
    fn a_probability_is_the_log_probability_nearly() {
        let row: Vec<f32> = (0..4096).map(|i| (i as f32 * 0.618).sin() * 12.0).collect();
        for id in [0, 2, 3, 4095] {
            let (got, expected) = (probabilities(&row, row[id]).0, logprob(&row, id).exp());
            assert!((f64::from(got) - expected).abs() < 1e-4 * expected.max(0.1), "{got} for {expected}");
        }
        assert_eq!(probabilities(&[3.0, -200.0], -200.0), (0.0, 1.0));
    }

    #[test]
    fn divergences_of_four_tokens() {
        let (row, other) = ([1.0, 0.0, -1.0, f32::NEG_INFINITY], [0.0, 3.0, 1.0, 2.0]);
        let p = |row: &[f32], id: usize| logprob(row, id).exp();
        let expected: f64 = (0..3).map(|id| p(&row, id) * (p(&row, id) / p(&other, id)).ln()).sum();
        let (sum, got) = divergence(&row, &other, log_sum_exp(&other));
        assert!((sum - log_sum_exp(&row)).abs() < 1e-7 && (got - expected).abs() < 1e-6);
        assert!(divergence(&other, &other, log_sum_exp(&other)).1 < 1e-6);
    }

    #[test]
    fn equal_logits_go_by_id() {
        assert_eq!(argmax(&[1.0, 5.0, 5.0]), Some(1));
        assert_eq!(top(&[5.0, 1.0, 5.0, 5.0], 2), [0, 2]);
        assert_eq!(top(&[5.0, 1.0], 9), [0, 1]);
        assert_eq!(argmax(&[]), None);
    }
}
