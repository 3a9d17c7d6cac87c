//! Words and colours that a terminal may be given.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::sync::LazyLock;

use crate::plain::plain;

/// A line of talk on stderr, plain whatever it quotes: a path, a file's own words, an error of llama.cpp's.
macro_rules! say {
    ($($words:tt)*) => { eprintln!("{}", $crate::plain::plain(&format!($($words)*))) };
}
pub(super) use say;

/// Words of a model, a file or a person for stdout: as they are, but plain on a terminal.
pub fn shown(text: &str) -> Cow<'_, str> {
    static IS_TERMINAL: LazyLock<bool> = LazyLock::new(|| std::io::stdout().is_terminal());
    if *IS_TERMINAL { Cow::Owned(plain(text)) } else { Cow::Borrowed(text) }
}

/// Whether stdout is to be coloured.
pub fn has_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
