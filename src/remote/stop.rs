//! A wait that ends where a person does not want to wait any longer.

use std::sync::OnceLock;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::Error;

/// How soon a wait is broken off.
const SLICE: Duration = Duration::from_millis(100);

static ASKED: OnceLock<fn() -> bool> = OnceLock::new();

/// From now on nobody waits for a server once this is so. The first one that is given counts.
pub fn stop_when(is_asked: fn() -> bool) {
    let _ = ASKED.set(is_asked);
}

/// What a thread comes to.
pub(super) fn wait_for<T>(result: &Receiver<T>) -> Result<T, Error> {
    loop {
        match result.recv_timeout(SLICE) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Disconnected) => return Err(lost()),
            Err(RecvTimeoutError::Timeout) if ASKED.get().is_some_and(|is_asked| is_asked()) => {
                return Err(Error::Stopped);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// The thread that asked is gone.
pub(super) fn lost() -> Error {
    Error::Garbage { url: "the thread that asks".to_owned(), what: "nothing".to_owned() }
}
