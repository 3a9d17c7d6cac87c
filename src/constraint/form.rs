//! What an answer may have to be, and why it cannot.

use crate::prompt::{CallStyle, Toolbox};
use crate::sampling::Sampling;

/// What an answer has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    Json(JsonForm),
    /// A text that a regular expression matches from its first to its last character.
    Regex(String),
    /// A text that a GBNF grammar describes in which no rule leads back to itself.
    Grammar(String),
    /// Calls of tools, or where those are not demanded, anything else.
    Calls(Calls),
}

/// A JSON document that a schema describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonForm {
    pub schema: String,
    /// What cannot be kept is left out, and told in a note.
    pub is_lax: bool,
}

/// An answer that may or has to call tools.
#[derive(Debug, Clone, PartialEq)]
pub struct Calls {
    pub toolbox: Toolbox,
    pub style: CallStyle,
    /// Marks of the style that are control tokens of the model, each with its id.
    pub named: Vec<(&'static str, u32)>,
    /// What an answer without a call has to be.
    pub answer: Option<JsonForm>,
}

impl Form {
    /// The schema or the regular expression that sampling parameters ask for.
    pub(super) fn of_all_but_grammars(sampling: &Sampling) -> Option<Self> {
        let json = |schema: &String| Self::Json(JsonForm { schema: schema.clone(), is_lax: sampling.json_schema_lax });
        sampling.json_schema.as_ref().map(json).or_else(|| sampling.regex.clone().map(Self::Regex))
    }
}

/// Why a form cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    #[error("the JSON schema cannot be used: {0}")]
    Schema(String),

    #[error("the regular expression cannot be used: {0}")]
    Regex(String),

    #[error("the grammar cannot be used: {0}")]
    Grammar(String),

    #[error("the tools cannot be given: {0}")]
    Calls(String),

    #[error("this program was built without the feature `constraint`, which keeps answers to a form")]
    Absent,

    /// A step took more than it may.
    #[error("the form of the answer cannot be followed any further: {0}")]
    Step(String),
}

impl Refused {
    /// The next step, where there is one to tell.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            // What has a place can be left out.
            Self::Schema(reason) if reason.starts_with('#') => {
                Some("--json-schema-lax (json_schema_lax) leaves out what cannot be kept, and says so")
            }
            Self::Step(_) => Some("a form in which a text can be read in fewer ways takes less"),
            Self::Regex(_) => Some("the syntax is that of Rust's regex crate: no look-around, no back-references"),
            Self::Schema(_) | Self::Grammar(_) | Self::Calls(_) | Self::Absent => None,
        }
    }
}

/// A character for people to read: one that controls a terminal by its number.
#[cfg(feature = "constraint")]
pub(super) fn plain(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_unicode());
    let itself = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(itself)
}

/// Of an error of llguidance's its first line, behind which stand its parser's own matters, or what is wrong with a regular
/// expression.
#[cfg(feature = "constraint")]
pub(super) fn in_words(error: &impl std::fmt::Display) -> String {
    let told = error.to_string();
    let mut lines = told.lines().map(str::trim).filter(|line| !line.is_empty());
    let of_regex = lines.clone().find_map(|line| line.strip_prefix("error: "));
    let words = of_regex.or_else(|| lines.next()).unwrap_or_default();
    words.chars().flat_map(plain).collect()
}
