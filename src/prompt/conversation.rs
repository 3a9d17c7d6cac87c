//! Who said what.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::tools::{Call, Toolbox};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    System,
    User,
    Assistant,
    /// The result of a call.
    Tool,
}

impl Speaker {
    /// The role's name in chat templates and requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

impl fmt::Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub speaker: Speaker,
    pub text: String,
    /// For an answer that was generated: its tokens.
    pub generated: Option<Generated>,
    /// What an answer calls, behind its text.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// The id of the call whose result this is.
    #[serde(default)]
    pub answers: Option<String>,
}

/// How an answer came to be: its text is `prefix` and then the text of `tokens`, which may be lossy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// Text that the answer was made to start with.
    pub prefix: String,
    /// By the base's ids.
    pub tokens: Vec<i32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    pub messages: Vec<Message>,
    /// Text that the next answer starts with, on every lane.
    pub prefix: String,
    /// Where a role sees plain text, names of special tokens in it are the tokens, as in llama.cpp's prompts. Where a role
    /// sees a chat template they are text whatever is said here: nobody forges a turn.
    #[serde(default)]
    pub parse_special: bool,
    /// What the next answer may call.
    #[serde(default)]
    pub tools: Option<Toolbox>,
}

impl Message {
    #[must_use]
    pub fn new(speaker: Speaker, text: impl Into<String>) -> Self {
        Self { speaker, text: text.into(), generated: None, calls: Vec::new(), answers: None }
    }
}

impl Conversation {
    /// A single user message.
    #[must_use]
    pub fn prompt(text: impl Into<String>) -> Self {
        Self { messages: vec![Message::new(Speaker::User, text)], ..Self::default() }
    }
}
