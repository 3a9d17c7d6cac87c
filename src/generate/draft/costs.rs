//! What decoding costs: as measured while it is done, or as it is assumed to be.

use std::time::Duration;

/// Seconds by what was decoded; each a mean in which the last few measurements count most.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Costs {
    /// Stands in place of everything that is measured.
    assumed: Option<Assumed>,
    /// One token on one lane ahead of the others, by lane.
    ahead: Vec<Mean>,
    /// By the tokens of all texts in the batch: on every lane at once; and on all lanes but one, which had them already.
    at_once: Vec<Mean>,
    behind: Vec<Mean>,
}

/// Costs that no clock is asked for, in steps of one token on every lane: the same on every run, so that a policy which
/// goes by them drafts the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Assumed {
    /// One token on each lane by itself, as a share of a step of all; and a step of all lanes but that one.
    pub ahead: Vec<f64>,
    pub behind: Vec<f64>,
    /// A further token, as a share of the first one.
    pub further: f64,
}

impl Assumed {
    /// Lanes that compute one after the other, by each one's part of a step: together 1.
    #[must_use]
    pub fn in_turns(lanes: Vec<f64>, further: f64) -> Self {
        Self { behind: lanes.iter().map(|part| 1.0 - part).collect(), ahead: lanes, further }
    }

    fn ahead(&self, lane: usize) -> f64 {
        self.ahead.get(lane).copied().unwrap_or(0.0)
    }

    fn step(&self, order: Order, n: usize) -> f64 {
        let lanes = match order {
            Order::AtOnce => 1.0,
            Order::Behind(lane) => self.behind.get(lane).copied().unwrap_or(1.0),
        };
        lanes * (1.0 + self.further * n.saturating_sub(1) as f64)
    }
}

/// How the tokens of a round reach the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All lanes decode all tokens.
    AtOnce,
    /// One lane had them, one by one, and the others follow.
    Behind(usize),
}

impl Costs {
    /// Costs that nothing measured will change.
    #[must_use]
    pub fn assumed(assumed: Assumed) -> Self {
        Self { assumed: Some(assumed), ..Self::default() }
    }

    /// Seconds for a token ahead on a lane; `None` before the first.
    #[must_use]
    pub fn ahead(&self, lane: usize) -> Option<f64> {
        match &self.assumed {
            Some(assumed) => Some(assumed.ahead(lane)),
            None => self.ahead.get(lane)?.get(),
        }
    }

    /// Seconds for a step of `n` tokens; `None` where there were too few.
    #[must_use]
    pub fn step(&self, order: Order, n: usize) -> Option<f64> {
        match &self.assumed {
            Some(assumed) => Some(assumed.step(order, n)),
            None => believed(n, *self.steps(order).get(n)?),
        }
    }

    /// Seconds for a round that decoded `n_ahead` tokens ahead and then a step of `n`, which took `spent`.
    #[must_use]
    pub fn round(&self, order: Order, n_ahead: usize, n: usize, spent: Duration) -> f64 {
        match (&self.assumed, order) {
            (None, _) => spent.as_secs_f64(),
            (Some(assumed), Order::AtOnce) => assumed.step(order, n),
            (Some(assumed), Order::Behind(lane)) => assumed.step(order, n) + n_ahead as f64 * assumed.ahead(lane),
        }
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
            Order::Behind(_) => &self.behind,
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
            Order::Behind(_) => &mut self.behind,
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
        costs.add_step(Order::Behind(0), 1, Duration::from_millis(10));
        costs.add_step(Order::Behind(0), 4, Duration::from_millis(900));
        assert_eq!((costs.step(Order::Behind(0), 1), costs.step(Order::Behind(0), 4)), (Some(0.01), None));
        assert_eq!(costs.measured(Order::Behind(0)).count(), 1);
        costs.add_step(Order::Behind(0), 4, Duration::from_millis(20));
        assert_eq!(costs.step(Order::Behind(0), 4), Some(0.02), "the first ones build graphs");
    }

    #[test]
    fn what_is_assumed_no_clock_changes() {
        let mut costs = Costs::assumed(Assumed::in_turns(vec![0.75, 0.25], 0.5));
        let hour = Duration::from_secs(3600);
        costs.add_ahead(1, hour);
        costs.add_step(Order::AtOnce, 1, hour);
        assert_eq!((costs.ahead(0), costs.ahead(1)), (Some(0.75), Some(0.25)));
        assert_eq!((costs.step(Order::AtOnce, 1), costs.step(Order::AtOnce, 3)), (Some(1.0), Some(2.0)));
        assert_eq!(costs.step(Order::Behind(1), 3), Some(1.5));
        assert_eq!(costs.round(Order::AtOnce, 0, 3, hour), 2.0);
        assert_eq!(costs.round(Order::Behind(1), 3, 3, hour), 1.5 + 3.0 * 0.25);
    }
}
