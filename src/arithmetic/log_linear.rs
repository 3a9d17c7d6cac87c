//! How well a weighted sum of logits predicts a token, and how that changes with the weights.
//!
//! The loss `ln Σ_id exp(z_id) − z_token` with `z = fixed + Σ_k θ_k · feature_k` is convex in θ. Its gradient is the mean of
//! the features under the softmax of `z`, less their values at the token; its Hessian is their covariance.

use super::newton::Expansion;

/// Ids that are looked at together; what they need stays in the first cache.
const BLOCK: usize = 256;
/// Partial sums side by side, so that they are computed in vectors.
const LANES: usize = 8;

/// One position: rows `[n_vocab]` whose weighted sum predicts a token.
#[derive(Debug, Clone, Copy)]
pub struct Position<'a> {
    /// Added with a weight of 1.
    pub fixed: Option<&'a [f32]>,
    pub features: &'a [Vec<f32>],
    pub token: usize,
}

impl Position<'_> {
    /// Adds the position's loss at `theta`, in nats, to a sum over positions, with the derivatives.
    pub fn add_loss(&self, theta: &[f64], sum: &mut Expansion) {
        let n = self.features.len();
        let mut totals = Totals::new(n);
        let mut scratch = vec![[0.0; BLOCK]; n];
        let n_vocab = self.fixed.or(self.features.first().map(Vec::as_slice)).map_or(0, <[f32]>::len);
        for start in (0..n_vocab).step_by(BLOCK) {
            let len = BLOCK.min(n_vocab - start);
            let mut z = [f64::NEG_INFINITY; BLOCK];
            z[..len].fill(0.0);
            // Relative to the token: its own z is 0, and nothing large cancels.
            if let Some(fixed) = self.fixed {
                let centre = f64::from(fixed[self.token]);
                z.iter_mut().zip(&fixed[start..start + len]).for_each(|(z, x)| *z = f64::from(*x) - centre);
            }
            for ((feature, theta), block) in self.features.iter().zip(theta).zip(&mut scratch) {
                let centre = f64::from(feature[self.token]);
                for ((x, block), z) in feature[start..start + len].iter().zip(&mut *block).zip(&mut z) {
                    *block = f64::from(*x) - centre;
                    *z += theta * *block;
                }
            }
            totals.take_in(&z, &scratch);
        }
        totals.add_to(sum);
    }
}

/// Sums over the ids so far, each term times `exp(z − max)`.
struct Totals {
    max: f64,
    mass: f64,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Totals {
    fn new(n: usize) -> Self {
        Self { max: f64::NEG_INFINITY, mass: 0.0, first: vec![0.0; n], second: vec![0.0; n * n] }
    }

    fn take_in(&mut self, z: &[f64; BLOCK], features: &[[f64; BLOCK]]) {
        let max = z.iter().copied().fold(self.max, f64::max);
        if max > self.max {
            let shrink = (self.max - max).exp();
            self.mass *= shrink;
            self.first.iter_mut().chain(&mut self.second).for_each(|sum| *sum *= shrink);
            self.max = max;
        }
        let mut p = [0.0; BLOCK];
        p.iter_mut().zip(z).for_each(|(p, z)| *p = f64::from(exp((z - max) as f32)));
        self.mass += dot(&p, &[1.0; BLOCK]);
        let n = features.len();
        for (i, feature) in features.iter().enumerate() {
            let mut weighted = [0.0; BLOCK];
            weighted.iter_mut().zip(feature).zip(&p).for_each(|((weighted, x), p)| *weighted = x * p);
            self.first[i] += dot(&p, feature);
            for (j, other) in features.iter().enumerate().skip(i) {
                self.second[i * n + j] += dot(&weighted, other);
            }
        }
    }

    fn add_to(&self, sum: &mut Expansion) {
        let n = self.first.len();
        sum.value += self.max + self.mass.ln();
        for i in 0..n {
            let mean = self.first[i] / self.mass;
            sum.gradient[i] += mean;
            for j in i..n {
                let covariance = self.second[i * n + j] / self.mass - mean * self.first[j] / self.mass;
                sum.hessian[i * n + j] += covariance;
                if i != j {
                    sum.hessian[j * n + i] += covariance;
                }
            }
        }
    }
}

fn dot(a: &[f64; BLOCK], b: &[f64; BLOCK]) -> f64 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

/// `eˣ` for x ≤ 0 within a relative error of 2e-7, 0 below −87: no branch, so that a loop of it is computed in vectors
/// (the polynomial of Cephes' `expf`).
fn exp(x: f32) -> f32 {
    /// Adding it rounds what is below 2²² to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let is_far = x < -87.0;
    let x = x.max(-87.0);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, x));
    let mut tail = 1.987_569_1e-4_f32;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        tail = tail.mul_add(r, c);
    }
    let scale = f32::from_bits(((n as i32 + 127) as u32) << 23);
    if is_far { 0.0 } else { (tail.mul_add(r * r, r) + 1.0) * scale }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arithmetic::newton::minimise;

    fn loss(fixed: Option<&[f32]>, features: &[Vec<f32>], token: usize, theta: &[f64]) -> Expansion {
        let mut sum = Expansion::zero(features.len());
        Position { fixed, features, token }.add_loss(theta, &mut sum);
        sum
    }

    fn oracle(fixed: Option<&[f32]>, features: &[Vec<f32>], token: usize, theta: &[f64]) -> f64 {
        let n_vocab = features[0].len();
        let z = |id: usize| {
            let sum: f64 = features.iter().zip(theta).map(|(row, theta)| theta * f64::from(row[id])).sum();
            fixed.map_or(0.0, |row| f64::from(row[id])) + sum
        };
        let max = (0..n_vocab).map(z).fold(f64::NEG_INFINITY, f64::max);
        max + (0..n_vocab).map(|id| (z(id) - max).exp()).sum::<f64>().ln() - z(token)
    }

    /// Value, gradient and Hessian by differences of the oracle.
    fn assert_expands(fixed: Option<&[f32]>, features: &[Vec<f32>], token: usize, theta: &[f64]) {
        const H: f64 = 1e-3;
        let n = theta.len();
        let got = loss(fixed, features, token, theta);
        let at = |moves: &[(usize, f64)]| {
            let mut theta = theta.to_vec();
            for (i, by) in moves {
                theta[*i] += by;
            }
            oracle(fixed, features, token, &theta)
        };
        let near = |a: f64, b: f64| (a - b).abs() < 2e-3 * b.abs().max(1.0);
        assert!((got.value - at(&[])).abs() < 1e-5, "{} for {}", got.value, at(&[]));
        for i in 0..n {
            let slope = (at(&[(i, H)]) - at(&[(i, -H)])) / (2.0 * H);
            assert!(near(got.gradient[i], slope), "{} for {slope}", got.gradient[i]);
            for j in 0..n {
                let across =
                    at(&[(i, H), (j, H)]) - at(&[(i, H), (j, -H)]) - at(&[(i, -H), (j, H)]) + at(&[(i, -H), (j, -H)]);
                let curve = across / (4.0 * H * H);
                assert!(near(got.hessian[i * n + j], curve), "{i} {j}: {} for {curve}", got.hessian[i * n + j]);
            }
        }
    }

    #[test]
    fn four_tokens() {
        let base = [1.0, 0.0, -1.0, 0.5];
        let pair = vec![vec![0.0, 2.0, 0.0, -1.0]];
        assert_expands(Some(&base), &pair, 1, &[0.7]);
        let parts = vec![base.to_vec(), vec![0.0, 2.0, 1.0, -1.0], vec![0.5, 0.5, -2.0, 0.0]];
        assert_expands(None, &parts, 2, &[0.7, 1.2, 0.3]);
        assert!((loss(Some(&[0.0; 4]), &[], 3, &[]).value - 4.0_f64.ln()).abs() < 1e-7);
    }

    #[test]
    fn exponentials_of_the_whole_range() {
        for i in 0..200_000 {
            let x = -(i as f32) * 87.0 / 200_000.0;
            let (got, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got - expected).abs() <= 2e-7 * expected, "{x}: {got} for {expected}");
        }
        assert_eq!((exp(-90.0), exp(f32::NEG_INFINITY), exp(0.0)), (0.0, 0.0, 1.0));
    }

    /// Positions of four tokens: base, expert and antiexpert, and the token that follows.
    fn positions() -> impl Strategy<Value = Vec<([[f32; 4]; 3], usize)>> {
        let row = || prop::array::uniform4(-3.0_f32..3.0);
        prop::collection::vec(([row(), row(), row()], 0..4_usize), 6..12)
    }

    proptest! {
        #[test]
        fn derivatives_are_those_of_large_vocabularies_too(
            rows in prop::collection::vec(prop::collection::vec(-6.0_f32..6.0, 700), 3),
            theta in prop::array::uniform2(0.0_f64..2.0),
            token in 0..700_usize,
        ) {
            assert_expands(Some(&rows[0]), &rows[1..], token, &theta);
        }

        /// No point of a grid over the bounds is better than the one that is found.
        #[test]
        fn the_minimum_is_that_of_a_grid(positions in positions()) {
            let total = |w: f64, a: f64, b: f64| -> f64 {
                let one = |(rows, token): &([[f32; 4]; 3], usize)| {
                    let features = [rows[0].to_vec(), rows[1].to_vec(), rows[2].map(|x| -x).to_vec()];
                    oracle(None, &features, *token, &[w, a, b])
                };
                positions.iter().map(one).sum()
            };
            let expand = |theta: &[f64]| -> Result<Expansion, ()> {
                let mut sum = Expansion::zero(3);
                for (rows, token) in &positions {
                    let features = [rows[0].to_vec(), rows[1].to_vec(), rows[2].map(|x| -x).to_vec()];
                    Position { fixed: None, features: &features, token: *token }.add_loss(theta, &mut sum);
                }
                Ok(sum)
            };
            let bounds = [(0.0, 2.0), (0.0, 4.0), (0.0, 4.0)];
            let found = minimise(&[1.0, 1.0, 1.0], &bounds, expand).expect("it never fails");
            let best = total(found[0], found[1], found[2]);
            for i in 0..=8 {
                for j in 0..=8 {
                    for k in 0..=8 {
                        let other = total(f64::from(i) / 4.0, f64::from(j) / 2.0, f64::from(k) / 2.0);
                        prop_assert!(best <= other + 1e-5, "{found:?}: {best}, and {other} at {i} {j} {k}");
                    }
                }
            }
        }
    }
}
