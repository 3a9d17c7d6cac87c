//! What a mean over items is worth: the bootstrap (Efron 1979), with percentile intervals.
//!
//! Items are taken as independent draws: correct or not, nats, seconds, or differences of two of these on the same item
//! (paired). A resample draws as many items as there are, with replacement; the interval is the middle 95 % of the
//! resamples' means, or of their ratios of two sums. For right and wrong answers a resample's sum is binomial, which the tests hold it against.

use serde::Serialize;

use super::statistics::quantile;

/// Resamples of an estimate.
pub const N_RESAMPLES: usize = 10_000;

/// Items that have to differ between two contenders before their difference has an interval: that five of five differ in one
/// direction happens by chance in one of sixteen cases.
const MIN_DIFFERENT: usize = 6;

/// The share of the resamples' means on either side of the interval.
const TAIL: f64 = 0.025;

/// A mean over items with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// NaN for no item.
    pub mean: f64,
    /// `None` for fewer than two items, which tell nothing of their spread, and where one to five items differ.
    pub interval: Option<(f64, f64)>,
    pub n: usize,
}

impl Estimate {
    /// The mean of `values`, one for each item. The same values and seed have the same interval on every machine.
    #[must_use]
    pub fn of(values: &[f64], seed: u64) -> Self {
        let parts: Vec<_> = values.iter().map(|&value| (value, 1.0)).collect();
        Self::of_ratio(&parts, seed)
    }

    /// The sum of the first of each item's two numbers over the sum of the second: nats a token, of texts of several lengths.
    #[must_use]
    pub fn of_ratio(parts: &[(f64, f64)], seed: u64) -> Self {
        Self {
            mean: ratio(parts.iter().copied()),
            interval: (parts.len() > 1).then(|| interval(parts, seed)),
            n: parts.len(),
        }
    }

    /// The same of what differs between two contenders, which few items do not decide.
    #[must_use]
    pub fn of_difference(parts: &[(f64, f64)], seed: u64) -> Self {
        let n_different = parts.iter().filter(|(difference, _)| *difference != 0.0).count();
        let estimate = Self::of_ratio(parts, seed);
        Self { interval: estimate.interval.filter(|_| n_different == 0 || n_different >= MIN_DIFFERENT), ..estimate }
    }

    /// Whether the whole interval is above 0, or below; `None` where 0 is in it, or there is none.
    #[must_use]
    pub fn sign(&self) -> Option<std::cmp::Ordering> {
        let (low, high) = self.interval?;
        if low > 0.0 {
            Some(std::cmp::Ordering::Greater)
        } else if high < 0.0 {
            Some(std::cmp::Ordering::Less)
        } else {
            None
        }
    }
}

/// The sum of the first numbers over that of the second.
#[must_use]
pub fn ratio(parts: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (sum, whole) = parts.fold((0.0, 0.0), |(sum, whole), (a, b)| (sum + a, whole + b));
    sum / whole
}

fn interval(parts: &[(f64, f64)], seed: u64) -> (f64, f64) {
    let mut random = SplitMix(seed);
    let n = parts.len();
    let mut resample = || ratio((0..n).map(|_| parts[random.below(n)]));
    let mut ratios: Vec<f64> = (0..N_RESAMPLES).map(|_| resample()).collect();
    ratios.sort_by(f64::total_cmp);
    (quantile(&ratios, TAIL), quantile(&ratios, 1.0 - TAIL))
}

/// `SplitMix64` (Steele, Lea and Flood 2014): a draw takes a nanosecond, and an interval some ten million draws.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, uniform up to n / 2⁶⁴.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    #[test]
    fn a_handful_of_differences_decides_nothing() {
        let better = |n: usize| (0..20).map(|i| (f64::from(u8::from(i < n)), 1.0)).collect::<Vec<_>>();
        assert_eq!(Estimate::of_difference(&better(5), 1).sign(), None);
        assert_eq!(Estimate::of_difference(&better(6), 1).sign(), Some(Ordering::Greater));
        assert_eq!(Estimate::of_difference(&better(5), 1).mean, 0.25);
    }

    /// From the reference implementation, seed 1234567.
    #[test]
    fn known_answers_of_splitmix() {
        let mut random = SplitMix(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423_u64];
        assert_eq!([random.next(), random.next(), random.next()], expected);
    }

    /// The share of correct answers below which a share `q` of the binomial distribution lies.
    fn binomial_quantile(n: usize, p: f64, q: f64) -> f64 {
        let (mut ln_term, mut sum) = (n as f64 * (1.0 - p).ln(), 0.0);
        for k in 0..=n {
            sum += ln_term.exp();
            if sum >= q {
                return k as f64 / n as f64;
            }
            ln_term += ((n - k) as f64 / (k + 1) as f64 * p / (1.0 - p)).ln();
        }
        1.0
    }

    #[test]
    fn right_and_wrong_answers_are_binomial() {
        for (n, n_right) in [(200, 124), (200, 10), (50, 25), (1319, 800)] {
            let values: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i < n_right))).collect();
            let p = n_right as f64 / n as f64;
            let (low, high) = Estimate::of(&values, 1).interval.expect("an interval");
            // A quantile of so many resamples may be the next number beside the exact one.
            let step = 1.01 / n as f64;
            assert!((low - binomial_quantile(n, p, TAIL)).abs() < step, "{low} for {n_right} of {n}");
            assert!((high - binomial_quantile(n, p, 1.0 - TAIL)).abs() < step, "{high} for {n_right} of {n}");
        }
    }

    #[test]
    fn many_numbers_have_the_normal_interval() {
        let values: Vec<f64> = (0..2000).map(|i| (f64::from(i) * 0.618).sin()).collect();
        let mean = values.iter().sum::<f64>() / 2000.0;
        let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2000.0).sqrt();
        let half = 1.96 * deviation / 2000.0_f64.sqrt();
        let (low, high) = Estimate::of(&values, 7).interval.expect("an interval");
        assert!((low - (mean - half)).abs() < 0.05 * half, "{low}");
        assert!((high - (mean + half)).abs() < 0.05 * half, "{high}");
    }

    #[test]
    fn pairs_take_out_what_items_have_in_common() {
        // Items differ a lot, the two of a pair by 0.1 or 0.3.
        let pair = |i: i32| {
            let hard = f64::from(i % 17);
            (hard + if i % 2 == 0 { 0.1 } else { 0.3 }, hard)
        };
        let differences: Vec<_> = (0..400).map(pair).map(|(a, b)| (a - b, 1.0)).collect();
        let difference = Estimate::of_difference(&differences, 3);
        let (low, high) = difference.interval.expect("an interval");
        assert!((difference.mean - 0.2).abs() < 1e-12);
        // The differences deviate by 0.1.
        assert!((high - low - 2.0 * 1.96 * 0.1 / 20.0).abs() < 0.001, "{low} to {high}");
        assert_eq!(difference.sign(), Some(Ordering::Greater));
        let reversed: Vec<_> = differences.iter().map(|(difference, weight)| (-difference, *weight)).collect();
        let reversed = Estimate::of_difference(&reversed, 3);
        assert_eq!(reversed.sign(), Some(Ordering::Less));
    }

    /// The delta method's interval of a ratio.
    #[test]
    fn ratios_weigh_items() {
        let parts: Vec<(f64, f64)> = (0..2000)
            .map(|i| {
                let weight = f64::from(1 + i % 13);
                (weight * (2.0 + (f64::from(i) * 0.618).sin()), weight)
            })
            .collect();
        let whole: f64 = parts.iter().map(|part| part.1).sum();
        let ratio = parts.iter().map(|part| part.0).sum::<f64>() / whole;
        let variance = parts.iter().map(|(a, b)| (a - ratio * b).powi(2)).sum::<f64>() / whole.powi(2);
        let estimate = Estimate::of_ratio(&parts, 5);
        let (low, high) = estimate.interval.expect("an interval");
        let half = 1.96 * variance.sqrt();
        assert!((estimate.mean - ratio).abs() < 1e-12);
        assert!((high - low - 2.0 * half).abs() < 0.1 * half, "{low} to {high}, {ratio} ± {half}");
        assert!((f64::midpoint(low, high) - ratio).abs() < 0.1 * half);
    }

    #[test]
    fn two_items_are_both_one_or_the_other() {
        assert_eq!(Estimate::of(&[0.0, 1.0], 5).interval, Some((0.0, 1.0)));
        assert_eq!(Estimate::of(&[0.0, 1.0], 5).sign(), None);
    }

    #[test]
    fn seeds_decide_and_few_items_tell_nothing() {
        let values: Vec<f64> = (0..100).map(|i| (f64::from(i) * 0.7).cos()).collect();
        assert_eq!(Estimate::of(&values, 1), Estimate::of(&values, 1));
        assert_ne!(Estimate::of(&values, 1), Estimate::of(&values, 2));
        assert_eq!(Estimate::of(&[4.0], 1), Estimate { mean: 4.0, interval: None, n: 1 });
        assert_eq!(Estimate::of(&[4.0; 9], 1).interval, Some((4.0, 4.0)));
        let none = Estimate::of(&[], 1);
        assert!(none.mean.is_nan() && none.interval.is_none() && none.sign().is_none());
    }
}
