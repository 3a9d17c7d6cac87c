//! What a text asked of a server, and what that cost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counts over a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    pub n_requests: usize,
    /// Those of them that were sent again, since they had failed.
    pub n_retries: usize,
    /// Positions that were looked at, and those of them that an earlier answer had brought.
    pub n_rows: usize,
    pub n_ahead: usize,
    /// Ids that were asked for by name, since they could have mattered and were not shown.
    pub n_named: usize,
    /// Tokens of the first text that was sent, as the small models count them and as a server that reads text does.
    pub prompt: Option<(usize, u64)>,
    /// Entries that stand for no one id here.
    pub n_dropped: usize,
    /// Probability that the base leaves to ids that are not shown, over all positions: sum and most.
    pub rest: f64,
    pub rest_most: f64,
    /// From when requests were sent to when their answers were there, and the part of it in which nothing else was done.
    pub under_way: Duration,
    pub waited: Duration,
}

impl Stats {
    /// Counts what another text counted as well.
    pub fn add(&mut self, other: &Self) {
        self.n_requests += other.n_requests;
        self.n_retries += other.n_retries;
        self.n_rows += other.n_rows;
        self.n_ahead += other.n_ahead;
        self.n_named += other.n_named;
        self.prompt = self.prompt.or(other.prompt);
        self.n_dropped += other.n_dropped;
        self.rest += other.rest;
        self.rest_most = self.rest_most.max(other.rest_most);
        self.under_way += other.under_way;
        self.waited += other.waited;
    }

    /// Mean probability that the base leaves to ids that are not shown; NaN before the first row.
    #[must_use]
    pub fn rest_mean(&self) -> f64 {
        self.rest / self.n_rows as f64
    }

    /// Share of the time in which requests were under way that the pair decoded in; NaN before the first.
    #[must_use]
    pub fn hidden(&self) -> f64 {
        (1.0 - self.waited.as_secs_f64() / self.under_way.as_secs_f64()).max(0.0)
    }
}
