//! Probability that moves from token to token when one distribution takes the place of another.

/// For each token the sum of `p(token) − q(token)` over many positions, in f64 over the whole vocabulary: what steering
/// promoted and demoted, after the analysis of Liu et al. 2024 (arXiv 2401.08565, section 6).
#[derive(Debug, Clone, PartialEq)]
pub struct Shift {
    sums: Vec<f64>,
}

impl Shift {
    #[must_use]
    pub fn new(n_vocab: usize) -> Self {
        Self { sums: vec![0.0; n_vocab] }
    }

    /// Takes in a position: rows of logits `[n_vocab]` of both distributions, each with its
    /// [`log_sum_exp`](super::softmax::log_sum_exp).
    pub fn add(&mut self, (row, sum): (&[f32], f64), (other, other_sum): (&[f32], f64)) {
        for ((moved, x), y) in self.sums.iter_mut().zip(row).zip(other) {
            *moved += (f64::from(*x) - sum).exp() - (f64::from(*y) - other_sum).exp();
        }
    }

    /// The sum of each token; all of them together come to 0.
    #[must_use]
    pub fn sums(&self) -> &[f64] {
        &self.sums
    }

    /// The `n` tokens that gained most, each with its sum, the greatest first; none that did not gain.
    #[must_use]
    pub fn promoted(&self, n: usize) -> Vec<(usize, f64)> {
        self.most(n, 1.0)
    }

    /// The `n` tokens that lost most, each with its sum, the lowest first; none that did not lose.
    #[must_use]
    pub fn demoted(&self, n: usize) -> Vec<(usize, f64)> {
        self.most(n, -1.0)
    }

    fn most(&self, n: usize, sign: f64) -> Vec<(usize, f64)> {
        let is_moved = |(_, sum): &(usize, f64)| sum * sign > 0.0;
        let mut moved: Vec<_> = self.sums.iter().copied().enumerate().filter(is_moved).collect();
        moved.sort_by(|(a, x), (b, y)| (y * sign).total_cmp(&(x * sign)).then(a.cmp(b)));
        moved.truncate(n);
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arithmetic::softmax::log_sum_exp;

    #[test]
    fn four_tokens_at_two_positions() {
        let row = |shares: [f32; 4]| shares.map(f32::ln);
        let mut shift = Shift::new(4);
        for (steered, base) in
            [([0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1]), ([0.25, 0.25, 0.0, 0.5], [0.25, 0.25, 0.5, 0.0])]
        {
            let (steered, base) = (row(steered), row(base));
            shift.add((&steered, log_sum_exp(&steered)), (&base, log_sum_exp(&base)));
        }
        for (sum, expected) in shift.sums().iter().zip([0.6, -0.6, -0.5, 0.5]) {
            assert!((sum - expected).abs() < 1e-6, "{sum} for {expected}");
        }
        let ids = |moved: Vec<(usize, f64)>| moved.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!((ids(shift.promoted(9)), ids(shift.demoted(1))), (vec![0, 3], vec![1]));
    }

    #[test]
    fn equal_distributions_move_nothing() {
        let row = [1.0, 2.0, 3.0];
        let mut shift = Shift::new(3);
        shift.add((&row, log_sum_exp(&row)), (&row, log_sum_exp(&row)));
        assert_eq!((shift.promoted(3), shift.demoted(3)), (Vec::new(), Vec::new()));
    }
}
