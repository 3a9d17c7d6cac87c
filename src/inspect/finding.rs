//! Something that was looked at, and what came of it.

use crate::steer::Role;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    Note,
    Warning,
    /// The plan cannot run.
    Refused,
}

impl Level {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Refused => "refused",
        }
    }
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// What it is about, in a word that scripts can rely on.
    pub topic: &'static str,
    pub role: Option<Role>,
    pub text: String,
    /// What to do about it.
    pub advice: Option<String>,
}
