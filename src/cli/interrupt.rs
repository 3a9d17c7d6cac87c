//! ctrl-C: the first asks the work to stop, the second ends the program, unless it is to be forgiving.

use std::sync::atomic::{AtomicBool, Ordering};

static STOPPED: AtomicBool = AtomicBool::new(false);
static IS_FORGIVING: AtomicBool = AtomicBool::new(false);

/// Starts to listen, and hands out the flag that a first ctrl-C sets.
pub fn listen() -> &'static AtomicBool {
    crate::remote::stop_when(stopped);
    // Where no handler can be installed, ctrl-C ends the program as it always did.
    let _ = ctrlc::set_handler(|| {
        if STOPPED.swap(true, Ordering::Relaxed) && !IS_FORGIVING.load(Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    &STOPPED
}

/// Listens, and from now on ctrl-C only ever stops what is being done.
pub fn forgive() {
    IS_FORGIVING.store(true, Ordering::Relaxed);
    listen();
}

/// What was stopped is over.
pub fn clear() {
    STOPPED.store(false, Ordering::Relaxed);
}

pub fn flag() -> &'static AtomicBool {
    &STOPPED
}

pub fn stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}
