//! What every route knows.

use super::catalog::Catalog;
use super::metrics::Metrics;
use super::settings::Settings;
use crate::engine::Handle;

pub struct App {
    pub engine: Handle,
    pub catalog: Catalog,
    pub settings: Settings,
    pub metrics: Metrics,
    /// Seconds since 1970 at the start, for `created` of models.
    pub started: u64,
}

impl App {
    #[must_use]
    pub fn new(engine: Handle, catalog: Catalog, settings: Settings) -> Self {
        Self { engine, catalog, settings, metrics: Metrics::default(), started: now() }
    }

    /// Texts that are generated at the same time.
    pub fn n_slots(&self) -> usize {
        self.settings.n_slots
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
