//! What decoding costs, as measured while it is done.

use std::time::Duration;

/// Seconds by what was decoded; each a mean in which the last few measurements count most.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Costs {
    /// One token on one lane before the others, by lane.
    ahead: Vec<Mean>,
    /// As many tokens on every lane at once; and where one lane had all but the last of them already.
    at_once: Vec<Mean>,
    behind: Vec<Mean>,
}

/// How the tokens of a step reach the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All lanes decode all tokens.
    AtOnce,
    /// One lane guessed them one by one, the others follow.
    Behind,
}

impl Costs {
    /// Seconds for a guess on a lane; `None` before the first.
    #[must_use]
    pub fn ahead(&self, lane: usize) -> Option<f64> {
        self.ahead.get(lane)?.get()
    }

    /// Seconds for a step of `n` tokens; `None` where there was none.
    #[must_use]
    pub fn step(&self, step: Step, n: usize) -> Option<f64> {
        self.steps(step).get(n)?.get()
    }

    /// Numbers of tokens that steps were measured with, ascending, with their seconds.
    pub fn measured(&self, step: Step) -> impl Iterator<Item = (usize, f64)> {
        self.steps(step).iter().enumerate().filter_map(|(n, mean)| Some((n, mean.get()?)))
    }

    fn steps(&self, step: Step) -> &[Mean] {
        match step {
            Step::AtOnce => &self.at_once,
            Step::Behind => &self.behind,
        }
    }

    pub(super) fn add_ahead(&mut self, lane: usize, spent: Duration) {
        at(&mut self.ahead, lane).add(spent.as_secs_f64());
    }

    pub(super) fn add_step(&mut self, step: Step, n: usize, spent: Duration) {
        // A step of one token has nothing to guess.
        let means = if n > 1 && step == Step::Behind { &mut self.behind } else { &mut self.at_once };
        at(means, n).add(spent.as_secs_f64());
    }
}

fn at(means: &mut Vec<Mean>, i: usize) -> &mut Mean {
    if means.len() <= i {
        means.resize(i + 1, Mean::default());
    }
    &mut means[i]
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Mean {
    n: u32,
    mean: f64,
}

impl Mean {
    /// What the newest measurement counts for, once there are enough.
    const WEIGHT: f64 = 0.125;

    fn add(&mut self, x: f64) {
        self.n = self.n.saturating_add(1);
        self.mean += (x - self.mean) * Self::WEIGHT.max(1.0 / f64::from(self.n));
    }

    fn get(self) -> Option<f64> {
        (self.n > 0).then_some(self.mean)
    }
}
