//! What every route knows.

use std::sync::Arc;

use super::catalog::Catalog;
use super::error::{Error, ErrorKind};
use super::metrics::Metrics;
use super::replies::Replies;
use super::settings::Settings;
use crate::engine::about::About;
use crate::engine::{Handle, State};

pub struct App {
    pub engine: Handle,
    pub catalog: Catalog,
    pub settings: Settings,
    pub metrics: Metrics,
    pub replies: Arc<Replies>,
    /// Seconds since 1970 at the start, for `created` of models.
    pub started: u64,
}

impl App {
    #[must_use]
    pub fn new(engine: Handle, catalog: Catalog, settings: Settings) -> Self {
        Self { engine, catalog, settings, metrics: Metrics::default(), replies: Arc::default(), started: now() }
    }

    /// Facts of every ensemble, once they are loaded.
    pub fn about(&self) -> Result<Arc<Vec<About>>, Error> {
        match self.engine.health().state {
            State::Ready(about) => Ok(about),
            State::Loading { .. } => Err(Error::new(ErrorKind::Unavailable, "Loading model")),
            State::Down { failure } => Err(Error::new(ErrorKind::Unavailable, failure.message)),
        }
    }

    /// Texts that are generated at the same time.
    pub fn n_slots(&self) -> usize {
        self.settings.n_slots
    }
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
