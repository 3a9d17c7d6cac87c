//! Random numbers without a state: the same for the same seed, position and id, in whatever order they are asked for.

/// Gumbel noise `−ln(−ln u)` of a token id at a position. The id of the highest `logit + noise` is a draw from the
/// softmax of the logits (Gumbel 1954; Maddison, Tarlow and Minka 2014, arXiv 1411.0030).
#[must_use]
pub fn gumbel(seed: u32, position: u32, id: u32) -> f64 {
    -(-uniform(seed, position, id).ln()).ln()
}

/// A number between 0 and 1, neither of them: 52 bits of a hash, and a half.
fn uniform(seed: u32, position: u32, id: u32) -> f64 {
    let [high, low] = philox(seed, [id, position]);
    let bits = (u64::from(high) << 32 | u64::from(low)) >> 12;
    (bits as f64 + 0.5) / (1_u64 << 52) as f64
}

/// Philox2x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a block cipher on a counter.
fn philox(mut key: u32, [mut left, mut right]: [u32; 2]) -> [u32; 2] {
    const N_ROUNDS: usize = 10;
    const MULTIPLIER: u64 = 0xd256_d193;
    const WEYL: u32 = 0x9e37_79b9;
    for _ in 0..N_ROUNDS {
        let product = MULTIPLIER * u64::from(left);
        (left, right) = ((product >> 32) as u32 ^ key ^ right, product as u32);
        key = key.wrapping_add(WEYL);
    }
    [left, right]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the Random123 library's `kat_vectors`.
    #[test]
    fn known_answers_of_philox() {
        for (key, counter, expected) in [
            (0, [0, 0], [0xff1d_ae59, 0x6cd1_0df2]),
            (u32::MAX, [u32::MAX, u32::MAX], [0x2c3f_628b, 0xab4f_d7ad]),
            (0x1319_8a2e, [0x243f_6a88, 0x85a3_08d3], [0xdd7c_e038, 0xf62a_4c12]),
        ] {
            assert_eq!(philox(key, counter), expected);
        }
    }

    /// χ² of counts that are expected to be equal.
    fn chi_square(counts: &[u32]) -> f64 {
        let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn uniform_along_each_argument_and_between_neighbours() {
        const N: u32 = 1 << 16;
        /// χ² with 255 degrees of freedom is above this once in 100,000 times.
        const LIMIT: f64 = 359.0;
        let along: [fn(u32) -> f64; 4] =
            [|i| uniform(i, 3, 5), |i| uniform(7, i, 5), |i| uniform(7, 3, i), |i| uniform(i, i, i)];
        for draw in along {
            let (mut singles, mut pairs) = ([0; 256], [0; 256]);
            for i in 0..N {
                singles[(draw(i) * 256.0) as usize] += 1;
                pairs[(draw(i) * 16.0) as usize * 16 + (draw(i + 1) * 16.0) as usize] += 1;
            }
            assert!(chi_square(&singles) < LIMIT, "{}", chi_square(&singles));
            assert!(chi_square(&pairs) < LIMIT, "{}", chi_square(&pairs));
        }
    }

    #[test]
    fn noise_is_finite_and_has_gumbels_mean() {
        const N: u32 = 1 << 16;
        /// Euler's constant.
        const MEAN: f64 = 0.577_215_664_9;
        let noise = (0..N).map(|id| gumbel(1, 0, id));
        let sum: f64 = noise.inspect(|noise| assert!(noise.is_finite())).sum();
        // The standard deviation is π/√6: five of its standard errors.
        assert!((sum / f64::from(N) - MEAN).abs() < 5.0 * 1.2826 / f64::from(N).sqrt());
    }
}
