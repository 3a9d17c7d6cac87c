//! Whether a text is written much slower than it was: most often because other programs use the cores. Threads that wait
//! for one another make one slow core the pace of all of them.

use std::time::{Duration, Instant};

/// Steps that are looked at, and how many more must have been seen.
const N_RECENT: usize = 8;
const N_SEEN: usize = 16;
/// How many times slower a step must become for a note, and what is fast enough for anybody.
const FACTOR: u32 = 10;
const FAST_ENOUGH: Duration = Duration::from_millis(20);

/// The steps of a text, by when the first token of each came.
#[derive(Debug, Default)]
pub struct Pace {
    last: Option<Instant>,
    steps: Vec<Duration>,
    is_told: bool,
}

/// What a step takes now, and what it took at its best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slowdown {
    pub now: Duration,
    pub best: Duration,
}

impl Pace {
    /// Takes in the first token of a step; answers once when steps have become slow.
    pub fn step(&mut self, at: Instant) -> Option<Slowdown> {
        let step = self.last.replace(at).map(|last| at - last)?;
        self.steps.push(step);
        if self.is_told || step < FAST_ENOUGH {
            return None;
        }
        let slowdown = slowdown(&self.steps)?;
        self.is_told = true;
        Some(slowdown)
    }
}

/// The median of the last steps against the third fastest of all: neither one slow step nor one fast step decides.
fn slowdown(steps: &[Duration]) -> Option<Slowdown> {
    if steps.len() < N_SEEN {
        return None;
    }
    let mut recent = steps[steps.len() - N_RECENT..].to_vec();
    recent.sort_unstable();
    let mut all = steps.to_vec();
    let (now, best) = (recent[N_RECENT / 2], *all.select_nth_unstable(2).1);
    (now >= FAST_ENOUGH && now >= best * FACTOR).then_some(Slowdown { now, best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_slow_when_most_of_the_last_ones_are() {
        let steps = |parts: &[(usize, u64)]| -> Vec<Duration> {
            parts.iter().flat_map(|&(n, ms)| vec![Duration::from_millis(ms); n]).collect()
        };
        for (what, parts, expected) in [
            ("too few to tell", &[(3, 10), (12, 1000)][..], None),
            ("even", &[(40, 100)], None),
            ("slow from the start and fast at times", &[(5, 2000), (3, 10), (9, 2000)], Some((2000, 10))),
            ("five times slower", &[(20, 100), (20, 500)], None),
            ("ten times slower", &[(20, 100), (20, 1000)], Some((1000, 100))),
            ("ten times slower and still fast", &[(20, 1), (20, 19)], None),
            ("a pause", &[(20, 100), (3, 60_000), (5, 100)], None),
            ("two lucky steps", &[(2, 1), (30, 100)], None),
            ("slow once, and fast again", &[(20, 100), (10, 2000), (20, 100)], None),
        ] {
            let found = slowdown(&steps(parts)).map(|slow| (slow.now.as_millis(), slow.best.as_millis()));
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn it_is_told_once() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut n_told = 0;
        for i in 0..60_u64 {
            now += Duration::from_millis(if i < 20 { 5 } else { 500 });
            n_told += usize::from(pace.step(now).is_some());
        }
        assert_eq!(n_told, 1);
    }
}
