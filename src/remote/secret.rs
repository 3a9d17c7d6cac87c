//! A server's key: sent to that server, and shown to nobody.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;

/// A longer file holds no key.
const MAX_BYTES: u64 = 4096;

/// Where a key is looked for that no file holds.
pub const VARIABLE: &str = "PROXYTUNE_BASE_API_KEY";

/// A key. It can leave the process on purpose alone: its `Debug` hides it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// The key that a file holds, else that of the environment, if there is one.
    pub fn find(file: Option<&Path>) -> Result<Option<Self>, Error> {
        let text = match file {
            Some(path) => Some(crate::text_file::read(path, MAX_BYTES)?),
            None => std::env::var(VARIABLE).ok().filter(|key| !key.is_empty()),
        };
        let from = || file.map_or_else(|| VARIABLE.to_owned(), |path| path.display().to_string());
        text.map(|text| Self::new(text.trim()).ok_or_else(|| Error::Key { from: from() })).transpose()
    }

    /// `None` for what no header can carry.
    pub(super) fn new(key: &str) -> Option<Self> {
        (!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(key.to_owned()))
    }

    /// What a header says.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A text of the server's without the key, should it repeat it.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        text.replace(&self.0, "…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown() {
        let key = Secret::new("sk-123").expect("a key");
        assert_eq!(format!("{key:?}"), "Secret(…)");
        assert_eq!(key.hidden_in("wrong key sk-123"), "wrong key …");
        assert_eq!(Secret::new(""), None);
        assert_eq!(Secret::new("two words"), None);
    }
}
