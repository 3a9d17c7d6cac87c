//! llama.cpp's messages: kept for error reports, shown when somebody wants to see them.

use std::ffi::{CStr, c_char, c_void};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use llama_cpp_sys_2::{GGML_LOG_LEVEL_ERROR, ggml_log_level, llama_log_set};

use crate::plain::plain;

static SHOW: AtomicBool = AtomicBool::new(false);
static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Every line, while somebody collects them.
static LINES: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// How many of llama.cpp's errors are kept until they are taken.
const N_KEPT: usize = 16;

/// Takes llama.cpp's messages off stderr. With `show` they still go there, otherwise its errors are only kept for
/// our own messages. Process-wide: a host that has its own log does not call this.
pub fn capture(show: bool) {
    SHOW.store(show, Ordering::Relaxed);
    // SAFETY: the callback lives as long as the program and takes no data.
    unsafe { llama_log_set(Some(receive), std::ptr::null_mut()) };
}

/// The first error llama.cpp reported since the last call; `otherwise` if it said nothing.
pub(super) fn take_errors(otherwise: &str) -> String {
    let mut errors = ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
    if errors.is_empty() {
        return otherwise.to_owned();
    }
    // The first says what was wrong, the later ones only that the callers failed too.
    let first = errors[0].clone();
    errors.clear();
    first
}

/// Runs `f` and answers what llama.cpp said meanwhile, line by line: some of what it knows it tells nobody else.
pub(super) fn collect<T>(f: impl FnOnce() -> T) -> (T, Vec<String>) {
    let swap = |lines| std::mem::replace(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner), lines);
    capture(SHOW.load(Ordering::Relaxed));
    swap(Some(Vec::new()));
    let result = f();
    (result, swap(None).unwrap_or_default())
}

unsafe extern "C" fn receive(level: ggml_log_level, text: *const c_char, _data: *mut c_void) {
    let _ = catch_unwind(|| {
        if text.is_null() {
            return;
        }
        // SAFETY: llama.cpp passes a NUL-terminated string that lives for the call.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        if SHOW.load(Ordering::Relaxed) {
            eprint!("{}", plain(&text));
        }
        if let Some(lines) = &mut *LINES.lock().unwrap_or_else(PoisonError::into_inner) {
            lines.push(text.trim_end().to_owned());
        }
        if level == GGML_LOG_LEVEL_ERROR {
            let mut errors = ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
            let line = without_function(text.trim());
            if errors.len() < N_KEPT && !line.is_empty() {
                errors.push(line.to_owned());
            }
        }
    });
}

/// `llama_model_load: error loading model: …` without the names of C++ functions in front.
fn without_function(line: &str) -> &str {
    let is_name = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_:~".contains(c));
    let mut rest = line;
    while let Some((word, after)) = rest.split_once(": ") {
        if !(is_name(word) && word.contains('_')) && word != "error loading model" {
            break;
        }
        rest = after;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::without_function;

    #[test]
    fn function_names_are_dropped() {
        for (line, expected) in [
            (
                "llama_model_load: error loading model: unknown model architecture: 'x'",
                "unknown model architecture: 'x'",
            ),
            ("init_tokenizer: key not found", "key not found"),
            ("no colon at all", "no colon at all"),
            ("tensor 'a': wrong shape", "tensor 'a': wrong shape"),
        ] {
            assert_eq!(without_function(line), expected);
        }
    }
}
