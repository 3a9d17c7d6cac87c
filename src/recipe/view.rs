//! What a role sees of a conversation, as a recipe asks for it; [`crate::prompt`] makes a text of it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::builtin::BuiltIn;

/// How a role sees a conversation. What is left open is settled by the role: the template is `auto` for an expert and
/// `plain` for base and antiexpert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub template: Option<TemplateName>,
    /// In place of the conversation's system prompt; an empty one is none.
    pub system: Option<String>,
    /// Text in front of the first message.
    pub prefix: Option<String>,
    /// In place of all messages: a negative prompt, or an empty one for no prompt at all.
    pub prompt: Option<String>,
}

/// Which template makes a text of the messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TemplateName {
    /// The one in the model's own file if there is one, else none.
    Auto,
    /// The one in the model's own file.
    Model,
    /// None: the messages are the text.
    Plain,
    /// Whatever the expert of the same pair sees; for the base that of the first pair.
    Expert,
    /// One that llama.cpp has a name for.
    BuiltIn(BuiltIn),
    /// The Jinja source itself.
    Source(String),
    /// A file with a Jinja template, or a GGUF file that holds one.
    File(PathBuf),
}

impl View {
    /// This view, with what it leaves open taken from `other`.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            template: self.template.clone().or_else(|| other.template.clone()),
            system: self.system.clone().or_else(|| other.system.clone()),
            prefix: self.prefix.clone().or_else(|| other.prefix.clone()),
            prompt: self.prompt.clone().or_else(|| other.prompt.clone()),
        }
    }

    pub(super) fn file(&self) -> Option<&Path> {
        match &self.template {
            Some(TemplateName::File(path)) => Some(path),
            _ => None,
        }
    }

    pub(super) fn file_mut(&mut self) -> Option<&mut PathBuf> {
        match &mut self.template {
            Some(TemplateName::File(path)) => Some(path),
            _ => None,
        }
    }
}

impl From<&str> for TemplateName {
    fn from(name: &str) -> Self {
        match name {
            "auto" => Self::Auto,
            "model" => Self::Model,
            "plain" => Self::Plain,
            "expert" => Self::Expert,
            source if source.contains("{{") || source.contains("{%") => Self::Source(source.to_owned()),
            name => BuiltIn::named(name).map_or_else(|| Self::File(name.into()), Self::BuiltIn),
        }
    }
}

impl fmt::Display for TemplateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Model => f.write_str("model"),
            Self::Plain => f.write_str("plain"),
            Self::Expert => f.write_str("expert"),
            Self::BuiltIn(template) => f.write_str(template.name()),
            Self::Source(source) => f.write_str(source),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}
