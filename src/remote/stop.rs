//! A person who does not want to wait any longer.

use std::sync::OnceLock;

static ASKED: OnceLock<fn() -> bool> = OnceLock::new();

/// From now on nobody waits for a server once this is so. The first one that is given counts.
pub fn stop_when(is_asked: fn() -> bool) {
    let _ = ASKED.set(is_asked);
}

pub(super) fn is_asked_for() -> bool {
    ASKED.get().is_some_and(|is_asked| is_asked())
}
