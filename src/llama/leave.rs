//! Ending a process in which llama.cpp computes.

use std::ffi::c_int;

unsafe extern "C" {
    fn _exit(code: c_int) -> !;
}

/// Ends the process at once, whatever its threads do. Nothing is cleaned up: libraries that tidy up while threads of theirs
/// compute may hang or abort.
pub fn leave(code: c_int) -> ! {
    // SAFETY: the C library's `_exit` takes a number and does not come back.
    unsafe { _exit(code) }
}
