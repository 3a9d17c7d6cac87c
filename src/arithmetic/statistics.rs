//! Running mean and spread of a stream of numbers.

/// Mean and standard error in one pass (Welford 1962), stable for long streams.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    n: u64,
    so_far: f64,
    /// Sum of squared deviations from the mean.
    m2: f64,
}

impl Mean {
    pub fn push(&mut self, x: f64) {
        self.n += 1;
        let delta = x - self.so_far;
        self.so_far += delta / self.n as f64;
        self.m2 += delta * (x - self.so_far);
    }

    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// NaN before the first number.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.n == 0 { f64::NAN } else { self.so_far }
    }

    /// Standard error of the mean, the numbers taken as independent; NaN for fewer than two.
    #[must_use]
    pub fn standard_error(&self) -> f64 {
        if self.n < 2 {
            return f64::NAN;
        }
        let n = self.n as f64;
        (self.m2 / (n - 1.0) / n).sqrt()
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

    #[test]
    fn mean_and_error_of_four() {
        let mut mean = Mean::default();
        for x in [1.0, 2.0, 3.0, 4.0] {
            mean.push(x);
        }
        assert_eq!(mean.mean(), 2.5);
        assert!((mean.standard_error() - (5.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn too_few_numbers_have_no_error() {
        let mut mean = Mean::default();
        assert!(mean.mean().is_nan());
        mean.push(7.0);
        assert_eq!(mean.mean(), 7.0);
        assert!(mean.standard_error().is_nan());
    }

    #[test]
    fn a_shift_changes_no_spread() {
        let spread = |shift: f64| {
            let mut mean = Mean::default();
            (0..1000).for_each(|i| mean.push(shift + f64::from(i % 7)));
            mean.standard_error()
        };
        assert!((spread(0.0) - spread(1e9)).abs() < 1e-9);
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 1.0), 3.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
