//! What decoding costs, as measured while it is done.

use std::time::Duration;

/// Seconds by what was decoded; each a mean in which the last few measurements count most.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Costs {
    /// One token on one lane ahead of the others, by lane.
    ahead: Vec<Mean>,
    /// By the tokens of all texts in the batch: on every lane at once; and on all lanes but one, which had them already.
    at_once: Vec<Mean>,
    behind: Vec<Mean>,
}

/// How the tokens of a round reach the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All lanes decode all tokens.
    AtOnce,
    /// One lane had them, one by one, and the others follow.
    Behind,
}

impl Costs {
    /// Seconds for a token ahead on a lane; `None` before the first.
    #[must_use]
    pub fn ahead(&self, lane: usize) -> Option<f64> {
        self.ahead.get(lane)?.get()
    }

    /// Seconds for a step of `n` tokens; `None` where there were too few.
    #[must_use]
    pub fn step(&self, order: Order, n: usize) -> Option<f64> {
        believed(n, *self.steps(order).get(n)?)
    }

    /// Numbers of tokens that steps were measured with, ascending, with their seconds.
    pub fn measured(&self, order: Order) -> impl Iterator<Item = (usize, f64)> {
        self.steps(order).iter().enumerate().filter_map(|(n, &mean)| Some((n, believed(n, mean)?)))
    }

    /// The same with steps that were measured once.
    pub fn tried(&self, order: Order) -> impl Iterator<Item = (usize, f64)> {
        self.steps(order).iter().enumerate().filter_map(|(n, mean)| Some((n, mean.get()?)))
    }

    fn steps(&self, order: Order) -> &[Mean] {
        match order {
            Order::AtOnce => &self.at_once,
            Order::Behind => &self.behind,
        }
    }

    /// Takes in a token ahead.
    pub fn add_ahead(&mut self, lane: usize, spent: Duration) {
        at(&mut self.ahead, lane).add(spent.as_secs_f64());
    }

    /// Takes in a step.
    pub fn add_step(&mut self, order: Order, n: usize, spent: Duration) {
        let means = match order {
            Order::AtOnce => &mut self.at_once,
            Order::Behind => &mut self.behind,
        };
        at(means, n).add(spent.as_secs_f64());
    }
}

/// A mean for steps of `n` tokens. One bad measurement of drafts would end them, and with them any better one.
fn believed(n: usize, mean: Mean) -> Option<f64> {
    mean.get().filter(|_| n <= 1 || mean.n > 1)
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
    /// A measurement counts for no more than this many means.
    const MOST: f64 = 1.5;
    /// Measurements of which the shortest counts.
    const N_FIRST: u32 = 3;

    fn add(&mut self, x: f64) {
        self.n = self.n.saturating_add(1);
        // The first ones build graphs and warm caches, and nothing is ever faster than it is.
        self.mean = if self.n == 1 {
            x
        } else if self.n <= Self::N_FIRST {
            self.mean.min(x)
        } else {
            // Somebody else had the machine.
            self.mean + (x.min(self.mean * Self::MOST) - self.mean) * Self::WEIGHT
        };
    }

    fn get(self) -> Option<f64> {
        (self.n > 0).then_some(self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_measurement_of_drafts_is_not_believed() {
        let mut costs = Costs::default();
        costs.add_step(Order::Behind, 1, Duration::from_millis(10));
        costs.add_step(Order::Behind, 4, Duration::from_millis(900));
        assert_eq!((costs.step(Order::Behind, 1), costs.step(Order::Behind, 4)), (Some(0.01), None));
        assert_eq!(costs.measured(Order::Behind).count(), 1);
        costs.add_step(Order::Behind, 4, Duration::from_millis(20));
        assert_eq!(costs.step(Order::Behind, 4), Some(0.02), "the first ones build graphs");
    }
}
