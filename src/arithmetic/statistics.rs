//! Means with their errors, quantiles.

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
}
