//! How long a hub is waited for, and how often it is asked again.

use std::time::{Duration, Instant};

use super::Error;
use super::progress::{Listener, Stage};

/// How often the caller can cancel a wait.
const SLICE: Duration = Duration::from_millis(100);

/// Limits in time. The defaults suit a home connection; tests shorten them.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Tries in a row that bring nothing new.
    pub n_tries: u32,
    /// The wait before the second try; it doubles from there on.
    pub first_wait: Duration,
    /// No wait is longer, and a hub whose `Retry-After` is longer is given up.
    pub max_wait: Duration,
    pub connect: Duration,
    /// Silence after which a connection counts as cut.
    pub stall: Duration,
    /// For a whole page of a listing.
    pub listing: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            n_tries: 5,
            first_wait: Duration::from_secs(1),
            max_wait: Duration::from_secs(60),
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            listing: Duration::from_secs(120),
        }
    }
}

/// The tries of one request.
pub(super) struct Tries<'a> {
    patience: &'a Patience,
    n_failed: u32,
}

impl<'a> Tries<'a> {
    pub fn new(patience: &'a Patience) -> Self {
        Self { patience, n_failed: 0 }
    }

    /// The last try brought something: the next failure is the first again.
    pub fn restart(&mut self) {
        self.n_failed = 0;
    }

    /// Waits as the failure asks for; gives it back where asking again is no use.
    pub fn wait(&mut self, error: Error, report: &mut Listener) -> Result<(), Error> {
        let doubled = self.patience.first_wait.saturating_mul(1 << self.n_failed.min(16));
        self.n_failed += 1;
        let asked_for = error.retry_after().unwrap_or(Duration::ZERO);
        if !error.is_passing() || self.n_failed >= self.patience.n_tries || asked_for > self.patience.max_wait {
            return Err(error);
        }
        let wait = doubled.min(self.patience.max_wait).max(asked_for);
        let start = Instant::now();
        loop {
            let left = wait.saturating_sub(start.elapsed());
            report.tell(Stage::Retrying { error: &error, wait: left })?;
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}
