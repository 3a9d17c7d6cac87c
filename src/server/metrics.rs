//! Counters for Prometheus, under llama-server's names.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::generate::Event;

/// What happened since the start.
#[derive(Debug, Default)]
pub struct Metrics {
    n_requests: AtomicU64,
    n_tokens: AtomicU64,
}

impl Metrics {
    pub fn add_request(&self) {
        self.n_requests.fetch_add(1, Ordering::Relaxed);
    }

    pub fn add(&self, event: &Event) {
        if let Event::Token(_) = event {
            self.n_tokens.fetch_add(1, Ordering::Relaxed);
        }
    }
}
