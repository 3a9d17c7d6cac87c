//! Means with their errors, quantiles.

use serde::Serialize;

/// A mean over many numbers that come in groups: windows of a text whose tokens depend on one another.
///
/// Groups are taken as independent, numbers within one are not: the error is that of a ratio of two sums over groups
/// (Cochran, Sampling Techniques, 1977, equation 6.5).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupedMean {
    /// Sum and count of each group.
    groups: Vec<(f64, f64)>,
}

impl GroupedMean {
    /// Adds a number to the current group.
    pub fn push(&mut self, x: f64) {
        if let Some((sum, n)) = self.groups.last_mut() {
            *sum += x;
            *n += 1.0;
        } else {
            self.groups.push((x, 1.0));
        }
    }

    /// Ends the current group; an empty one does not count.
    pub fn next_group(&mut self) {
        if self.groups.last().is_none_or(|(_, n)| *n > 0.0) {
            self.groups.push((0.0, 0.0));
        }
    }

    fn full(&self) -> impl Iterator<Item = (f64, f64)> {
        self.groups.iter().copied().filter(|(_, n)| *n > 0.0)
    }

    /// How many numbers there are.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.full().map(|(_, n)| n as u64).sum()
    }

    /// NaN before the first number.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let (sum, n) = self.full().fold((0.0, 0.0), |total, group| (total.0 + group.0, total.1 + group.1));
        sum / n
    }

    /// Standard error of the mean; NaN for fewer than two groups.
    #[must_use]
    pub fn standard_error(&self) -> f64 {
        let n_groups = self.full().count() as f64;
        if n_groups < 2.0 {
            return f64::NAN;
        }
        let mean = self.mean();
        let squares: f64 = self.full().map(|(sum, n)| (sum - mean * n).powi(2)).sum();
        let n: f64 = self.full().map(|(_, n)| n).sum();
        (squares * n_groups / (n_groups - 1.0)).sqrt() / n
    }
}

/// The value below which a share `q` (0 to 1) of the numbers lies, interpolated; NaN for none.
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let place = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// Mean and standard deviation (of a sample, n − 1), as llama-bench has them: 0 for what too few numbers do not tell.
#[must_use]
pub fn mean_and_deviation(numbers: &[f64]) -> (f64, f64) {
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n.max(1.0);
    let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, if n > 1.0 { (squares / (n - 1.0)).sqrt() } else { 0.0 })
}

/// A median, and the two of the numbers that have it between them in 95 of 100 samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Median {
    /// NaN for no number.
    pub median: f64,
    /// By rank, from the binomial distribution; `None` for fewer than six numbers, which have none.
    pub interval: Option<(f64, f64)>,
    pub n: usize,
}

impl Median {
    #[must_use]
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<_> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let interval = rank_below(n).map(|rank| (sorted[rank], sorted[n - 1 - rank]));
        Self { median: quantile(&sorted, 0.5), interval, n }
    }
}

/// The highest rank, from 0, that is above the median of what was sampled in at most 2.5 of 100 cases.
fn rank_below(n: usize) -> Option<usize> {
    let mut chance = 0.0;
    let mut ln_term = -(n as f64) * std::f64::consts::LN_2;
    for k in 0..n {
        chance += ln_term.exp();
        if chance > 0.025 {
            return k.checked_sub(1);
        }
        ln_term += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouped(groups: &[&[f64]]) -> GroupedMean {
        let mut mean = GroupedMean::default();
        for group in groups {
            mean.next_group();
            group.iter().for_each(|&x| mean.push(x));
        }
        mean
    }

    #[test]
    fn groups_of_one_are_plain_numbers() {
        let mean = grouped(&[&[1.0], &[2.0], &[3.0], &[4.0]]);
        assert_eq!((mean.n(), mean.mean()), (4, 2.5));
        assert!((mean.standard_error() - (5.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn numbers_that_repeat_within_groups_tell_nothing_new() {
        let once = grouped(&[&[1.0], &[2.0], &[6.0]]);
        let thrice = grouped(&[&[1.0; 3], &[2.0; 3], &[6.0; 3]]);
        assert_eq!(once.mean(), thrice.mean());
        assert!((once.standard_error() - thrice.standard_error()).abs() < 1e-15);
    }

    #[test]
    fn too_few_groups_have_no_error() {
        assert!(GroupedMean::default().mean().is_nan());
        let mean = grouped(&[&[], &[7.0, 9.0], &[]]);
        assert_eq!((mean.n(), mean.mean()), (2, 8.0));
        assert!(mean.standard_error().is_nan());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 1.0), 3.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn deviations_are_those_of_samples() {
        assert_eq!(mean_and_deviation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), (5.0, (32.0_f64 / 7.0).sqrt()));
        assert_eq!(mean_and_deviation(&[3.0]), (3.0, 0.0));
        assert_eq!(mean_and_deviation(&[]), (0.0, 0.0));
    }

    #[test]
    fn intervals_of_medians_are_the_tables() {
        // Conover, Practical Nonparametric Statistics, from its table of the binomial distribution.
        for (n, rank) in [(5, None), (6, Some(0)), (8, Some(0)), (9, Some(1)), (20, Some(5)), (40, Some(13))] {
            assert_eq!(rank_below(n), rank, "{n}");
        }
        let median = Median::of([9.0, 1.0, 3.0, 2.0, 8.0, 7.0, 4.0, 6.0, 5.0]);
        assert_eq!(median, Median { median: 5.0, interval: Some((2.0, 8.0)), n: 9 });
        assert!(Median::of([]).median.is_nan());
        // Far beyond where the first term is a number above 0.
        assert!(rank_below(5000).is_some_and(|rank| (2410..2450).contains(&rank)));
    }
}
