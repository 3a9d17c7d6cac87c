//! Foreign code that panics over what a file says: the panic ends here, in words, and nothing is printed.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether this thread's panics are caught by [`contained`].
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `f` answers, or the words of its panic. A process that aborts on panics aborts here too.
pub fn contained<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    /// In front of the hook that was there, whose messages of other panics still come.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                hook(info);
            }
        }));
    });
    let was_quiet = QUIET.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(f));
    QUIET.set(was_quiet);
    outcome.map_err(|panic| words(panic.as_ref()))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it gave no reason").to_owned()
}

#[cfg(test)]
mod tests {
    use super::contained;

    #[test]
    fn a_panic_becomes_words() {
        assert_eq!(contained(|| 1), Ok(1));
        let zero = std::hint::black_box(0);
        assert_eq!(contained(|| 1 / zero), Err("attempt to divide by zero".to_owned()));
        let nested = contained(|| {
            let inner = contained(|| 1 / zero);
            (inner, 1 % zero)
        });
        assert_eq!(nested, Err("attempt to calculate the remainder with a divisor of zero".to_owned()));
        let formatted = contained(|| assert_eq!(zero, 1, "no {}", 1)).expect_err("it panics");
        assert!(formatted.contains("no 1"), "{formatted}");
    }
}
