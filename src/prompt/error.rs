//! Why a role cannot be shown a conversation.

use super::Speaker;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the chat template is not valid in line {line}: {reason}")]
    Syntax { line: usize, reason: String },

    /// The template's own refusal, or a fault in it.
    #[error("the chat template failed{}: {reason}", line.map(|line| format!(" in line {line}")).unwrap_or_default())]
    Render { line: Option<usize>, reason: String },

    #[error("the chat template does more work than a prompt needs")]
    Work,

    #[error("the {speaker} message holds U+{:04X}, a noncharacter that no text should hold", u32::from(*found))]
    Marker { speaker: Speaker, found: char },

    #[error("the chat template cuts the {speaker} message apart, so that its text cannot be told from the template's")]
    Cut { speaker: Speaker },

    #[error("the chat template takes messages apart, so that their text cannot be told from its own")]
    Unclear,
}

impl Error {
    /// The next step, where there is one to tell.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Syntax { .. } | Self::Work | Self::Cut { .. } | Self::Unclear => {
                Some("give this role another chat template, or none")
            }
            Self::Render { .. } => Some(
                "the template may want the messages in another order, or ask for what is not here; plain text takes any",
            ),
            Self::Marker { .. } => Some("leave the character out"),
        }
    }
}
