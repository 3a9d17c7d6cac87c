//! ctrl-C: the first asks the work to stop, the second ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

static STOPPED: AtomicBool = AtomicBool::new(false);

/// Starts to listen, and hands out the flag that a first ctrl-C sets.
pub fn listen() -> &'static AtomicBool {
    // Where no handler can be installed, ctrl-C ends the program as it always did.
    let _ = ctrlc::set_handler(|| {
        if STOPPED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    &STOPPED
}

pub fn stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}
