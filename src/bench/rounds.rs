//! How many rounds a test has, and how long that takes.

use std::time::Duration;

/// As many rounds as were asked for, or, where time is bounded, as many of them as fit into it and one at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rounds {
    pub most: usize,
    pub within: Option<Duration>,
}

impl Rounds {
    /// Whether there is another one behind `n_done` rounds that took `spent`.
    pub fn goes_on(&self, n_done: usize, spent: Duration) -> bool {
        let fits = |within: Duration| within.saturating_sub(spent) >= spent / n_done.max(1) as u32;
        n_done < self.most && (n_done == 0 || self.within.is_none_or(fits))
    }

    /// What all of them take where one takes so long.
    pub fn expected(&self, round: Duration) -> Duration {
        let all = round.saturating_mul(self.most as u32);
        self.within.map_or(all, |within| all.min(within.max(round)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_bounds_rounds_and_one_is_always_done() {
        let s = Duration::from_secs;
        let asked = Rounds { most: 5, within: None };
        assert!(asked.goes_on(4, s(10_000)) && !asked.goes_on(5, s(1)));
        assert_eq!(asked.expected(s(100)), s(500));
        let bounded = Rounds { most: 5, within: Some(s(60)) };
        for (n_done, spent, goes_on) in [(0, 0, true), (1, 30, true), (2, 60, false), (1, 31, false), (5, 5, false)] {
            assert_eq!(bounded.goes_on(n_done, s(spent)), goes_on, "{n_done} rounds in {spent} s");
        }
        assert_eq!([s(1), s(20), s(100)].map(|round| bounded.expected(round)), [s(5), s(60), s(100)]);
        assert!(!Rounds { most: 0, within: None }.goes_on(0, s(0)));
    }
}
