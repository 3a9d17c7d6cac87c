//! Words and colours that a terminal may be given.

use std::borrow::Cow;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

use crate::plain::plain;

/// A line of talk on stderr for [`say`], which is read by somebody or not.
pub fn tell(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{}", plain(&line.to_string()));
}

/// A line of talk on stderr, plain whatever it quotes: a path, a file's own words, an error of llama.cpp's. Unlike
/// `eprintln` it does not panic when the reader has gone.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::terminal::tell(format_args!($($words)*)) };
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
