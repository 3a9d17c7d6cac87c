//! A text whose base is on a server: what was asked of it, and what it did not show.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::arithmetic::hidden::Hidden;
use crate::remote::{Row, Stats};

/// Counts over a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Served {
    pub requests: Stats,
    /// The server chose the tokens, from the whole steered distribution.
    pub draws: bool,
    /// No log-probability is further from the sum's than this, in nats, since small offsets were not sent.
    pub error: f32,
    /// Positions that a token was chosen at among those that the server shows.
    pub n_chosen: usize,
    /// The most that the others could have of the steered distribution, over these positions: sum and most.
    pub hidden: f64,
    pub hidden_most: f64,
    /// Positions at which one of the others could have been the top token.
    pub n_may_lead: usize,
}

impl Served {
    /// Counts a position. `composed` is the steered row, of which the server showed `row`.
    pub(super) fn see(&mut self, row: &Row, composed: &[f32]) {
        self.n_chosen += 1;
        let Some(shown) = row.shown() else { return };
        let Hidden { share, may_lead } =
            crate::arithmetic::hidden::hidden(row.logits(), composed, shown, row.rest(), row.cap());
        self.hidden += share;
        self.hidden_most = self.hidden_most.max(share);
        self.n_may_lead += usize::from(may_lead);
    }

    /// The most that tokens which are not shown could have had, on average.
    #[must_use]
    pub fn hidden_mean(&self) -> f64 {
        if self.n_chosen == 0 { 0.0 } else { self.hidden / self.n_chosen as f64 }
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { n_requests, n_retries, n_rows, n_ahead, n_dropped, .. } = self.requests;
        let percent = |share: f64| {
            let digits = if share > 0.0 && share < 0.01 { 2 } else { 1 };
            format!("{:.digits$} %", share * 100.0)
        };
        write!(f, "{n_rows} positions of the base by {n_requests} requests")?;
        if n_ahead > 0 {
            write!(f, " ({n_ahead} were told ahead)")?;
        }
        if n_retries > 0 {
            write!(f, ", {n_retries} of them sent again after a failure")?;
        }
        if self.requests.hidden() > 0.0 {
            write!(f, ", {:.0} % of the waiting behind the pair's own work", self.requests.hidden() * 100.0)?;
        }
        if self.draws {
            f.write_str("; the server chose from the whole steered distribution")?;
            if self.error > 0.0 {
                write!(f, ", no log-probability of which is off by more than {} nats", self.error)?;
            }
            return Ok(());
        }
        if self.hidden > 0.0 {
            write!(
                f,
                "; tokens that it does not show have {} of the base's probability, and could have up to {} of the steered one \
                 (at worst {})",
                percent(self.requests.rest_mean()),
                percent(self.hidden_mean()),
                percent(self.hidden_most)
            )?;
            write!(
                f,
                "; at {} of {} positions one of them could have been the top token",
                self.n_may_lead, self.n_chosen
            )?;
        }
        if self.requests.n_named > 0 {
            write!(f, "; {} more of its log-probabilities were asked for by name", self.requests.n_named)?;
        }
        if let Some((ours, theirs)) = self.requests.prompt.filter(|(ours, theirs)| *ours as u64 != *theirs) {
            write!(f, "; the server read {theirs} tokens where the small models have {ours}")?;
            if theirs + 1 == ours as u64 {
                f.write_str(": it may put no token in front of a text")?;
            }
        }
        if n_dropped > 0 {
            write!(f, "; {n_dropped} entries stand for no one token and were left out")?;
        }
        Ok(())
    }
}
