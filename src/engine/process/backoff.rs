//! How long to wait before a process is started again.

use std::time::Duration;

/// The first start that fails is tried again at once, then after 1, 2, 4 … seconds.
const LONGEST: Duration = Duration::from_secs(30);
/// A process that was ready for so long had nothing to do with those before it.
const SETTLED: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Backoff {
    n_deaths: u32,
}

impl Backoff {
    /// The delay after a process died; `ready_for`: since it was loaded, if it was.
    pub fn died(&mut self, ready_for: Option<Duration>) -> Duration {
        if ready_for.is_some_and(|ready_for| ready_for >= SETTLED) {
            self.n_deaths = 0;
        }
        let n = self.n_deaths;
        self.n_deaths += 1;
        let seconds = n.checked_sub(1).map_or(0, |doublings| 1_u64 << doublings.min(16));
        Duration::from_secs(seconds).min(LONGEST)
    }

    /// How often in a row it died.
    pub fn n_deaths(&self) -> u32 {
        self.n_deaths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_until_a_process_lasts() {
        let mut backoff = Backoff::default();
        let [short, long] = [1, 60].map(|seconds| Some(Duration::from_secs(seconds)));
        let deaths = [short, None, None, short, None, None, None, None, long, short];
        let delays = deaths.map(|ready_for| backoff.died(ready_for).as_secs());
        assert_eq!(delays, [0, 1, 2, 4, 8, 16, 30, 30, 0, 1]);
        for _ in 0..1000 {
            assert!(backoff.died(None) <= LONGEST);
        }
    }
}
