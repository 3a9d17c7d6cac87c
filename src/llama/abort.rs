//! llama.cpp ends the process where it cannot go on (`ggml_abort`). Here somebody has the last word.
//!
//! There is no way back: the function that gave up does not return, and its caller waits for ever. What can be chosen is
//! what is said, in place of a line of C++ and a debugger's listing of the stack, and the exit code.

use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use llama_cpp_sys_2 as sys;

use super::leave::leave;
use super::{Error, rpc};

/// Words take a moment. Whoever holds what they are written to may never let go of it.
const PATIENCE: Duration = Duration::from_secs(5);

type LastWords = Arc<dyn Fn(&Error) + Send + Sync>;

static LAST_WORDS: Mutex<Option<LastWords>> = Mutex::new(None);

/// Has `last_words` called when llama.cpp gives up, with [`Error::RpcLost`] or [`Error::GaveUp`]; then the process ends with
/// exit code 1. Process-wide; who comes later replaces who came before.
///
/// It runs on a thread of its own. The others stand where llama.cpp left them and may hold locks, that of stdout for one:
/// after five seconds the process ends with or without words.
pub fn on_abort(last_words: impl Fn(&Error) + Send + Sync + 'static) {
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(last_words));
    // SAFETY: the callback lives as long as the program, and never returns, let alone unwinds.
    unsafe { sys::ggml_set_abort_callback(Some(receive)) };
}

unsafe extern "C" fn receive(message: *const c_char) {
    static IS_ENDING: AtomicBool = AtomicBool::new(false);
    if IS_ENDING.swap(true, Ordering::Relaxed) {
        // Servers may be lost together. One thread is enough to say so.
        loop {
            std::thread::park();
        }
    }
    let message = if message.is_null() {
        String::new()
    } else {
        // SAFETY: ggml passes a NUL-terminated string that lives for the call.
        unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
    };
    let (said, heard) = mpsc::channel::<()>();
    let say = move || {
        // Dropped when the words are said, or when saying them panics.
        let _said = said;
        let last_words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(last_words) = last_words {
            last_words(&why(&message));
        }
    };
    if std::thread::Builder::new().name("last-words".to_owned()).spawn(say).is_ok() {
        let _ = heard.recv_timeout(PATIENCE);
    }
    leave(1)
}

/// What `FILE:LINE: MESSAGE` means.
fn why(message: &str) -> Error {
    rpc::lost(message).unwrap_or_else(|| Error::GaveUp { reason: without_folders(message.trim()).to_owned() })
}

/// The place in llama.cpp without the folders of whoever compiled it.
fn without_folders(message: &str) -> &str {
    let place = message.find(": ").map_or(message, |end| &message[..end]);
    place.rfind(['/', '\\']).map_or(message, |slash| &message[slash + 1..])
}

#[cfg(test)]
mod tests {
    use super::why;

    #[test]
    fn the_place_stays_and_its_folders_go() {
        for (message, expected) in [
            ("/home/a b/ggml/src/ggml.c:12: GGML_ASSERT(a/b: c) failed", "ggml.c:12: GGML_ASSERT(a/b: c) failed"),
            ("C:\\ggml\\ggml.c:12: fatal error\n", "ggml.c:12: fatal error"),
            ("ggml.c:12: fatal error", "ggml.c:12: fatal error"),
            ("", ""),
        ] {
            assert_eq!(why(message).to_string(), format!("llama.cpp gave up: {expected}"));
        }
    }

    #[test]
    fn a_server_that_is_lost_is_named() {
        let lost = "/x/ggml-rpc.cpp:550: RPC handshake failed for 10.0.0.2:50052";
        assert!(why(lost).to_string().starts_with("the RPC server 10.0.0.2:50052 was lost"), "{}", why(lost));
        let ours = "/x/ggml-rpc.cpp:1045: GGML_ASSERT(cgraph->n_nodes > 0) failed";
        assert!(why(ours).to_string().starts_with("llama.cpp gave up: ggml-rpc.cpp:1045: "), "{}", why(ours));
    }
}
