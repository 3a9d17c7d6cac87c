//! Words and colours that a terminal may be given.

use std::borrow::Cow;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

/// A line on stderr, for whoever still reads it.
pub fn tell(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Words of a file for a terminal: what would move its cursor or change its colours is spelled out.
pub fn plain(text: &str) -> String {
    let spelled = |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(spelled).collect()
}

/// Words of a model or a person for stdout: as they are, but for a terminal without what would move its cursor, change
/// its colours or ring.
pub fn shown(text: &str) -> Cow<'_, str> {
    static IS_TERMINAL: LazyLock<bool> = LazyLock::new(|| std::io::stdout().is_terminal());
    let is_kept = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if !*IS_TERMINAL || text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let spelled = |c: char| if is_kept(c) { c.to_string() } else { c.escape_default().to_string() };
    Cow::Owned(text.chars().map(spelled).collect())
}

/// Whether stdout is to be coloured.
pub fn has_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
