//! What a generation tells while it runs. Everything in it is plain data: it may have to leave the process.

use serde::{Deserialize, Serialize};

use super::draft::Stats;
use super::probs::Position;
use super::served::Served;
use crate::llama::Token;
use crate::llama::context::Timings;
use crate::prompt::CallStyle;
use crate::recipe::Schedule;
use crate::steer::{self, Role};

/// In order: started, read for each piece of the prompts and what was seen in it, tokens, and one of done and failed; among
/// the tokens, and in front of the first, what changed of the steering. A request that never got a slot has the last one
/// only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Started(Started),
    /// So many tokens of the prompts are read, all lanes together.
    Read {
        n: usize,
    },
    /// The next tokens of the prompt that is sampled from behind its first, where they were asked for.
    Prompt(Vec<Position>),
    Token(Generated),
    /// The next token is the first that is chosen under other weights.
    Steered(Steered),
    Done(Done),
    Failed(Failed),
}

impl Event {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }
}

/// A text has its place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// What every role is given; the first one is what tokens are chosen for.
    pub prompts: Vec<RolePrompt>,
    /// Tokens of the prompts, all lanes together, and those of them that the lanes hold already.
    pub n_prompt: usize,
    pub n_cached: usize,
    /// What is not done as it was asked for.
    pub notes: Vec<String>,
    /// How the answer writes calls of tools, where it may, and which it may call.
    pub calls: Option<(CallStyle, Vec<String>)>,
}

/// What one role is given to continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolePrompt {
    pub role: Role,
    /// By the role's own ids.
    pub tokens: Vec<Token>,
    /// The first tokens, which its lane holds already.
    pub n_cached: usize,
}

/// One generated token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    pub token: Token,
    /// Text that this token decided: often its own, sometimes none yet, sometimes some that earlier ones left open.
    pub text: String,
    /// Which token of its step it is, from 0 on: further ones are drafts that were accepted.
    pub place: usize,
    pub position: Option<Position>,
}

/// How a text is steered from a position on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Steered {
    /// The first position of the answer for which it holds; tokens that the answer was begun with count.
    pub position: usize,
    /// α of each pair along the whole answer, in order.
    pub alpha: Vec<Schedule>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// An end-of-generation token of the base or of an expert, a stop string, or a complete grammar.
    Stop,
    /// `n_predict` tokens, or a full context.
    Length,
    Cancelled,
}

/// What ended a text with [`Finish::Stop`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// An end-of-generation token, by the ids of the lane that is sampled from.
    Eog(Token),
    /// A stop string.
    Text(String),
    /// A grammar is complete, and the model has no token that could follow.
    Grammar,
}

impl Finish {
    /// As `OpenAI`'s and llama.cpp's APIs spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub finish: Finish,
    /// Where it is [`Finish::Stop`].
    pub stopped_by: Option<StopReason>,
    /// The context has no room for another token.
    pub is_full: bool,
    /// Text that was held back until it was known that nothing more comes.
    pub text: String,
    /// What is not as it was asked for.
    pub notes: Vec<String>,
    pub stats: Stats,
    /// From its place in the engine to the end of the prompt.
    pub prompt_seconds: f64,
    /// From the end of the prompt to the end of the text.
    pub seconds: f64,
    /// Where the time of every role went.
    pub timings: Vec<(Role, Timings)>,
    /// Where the base is on a server.
    pub served: Option<Served>,
}

/// A generation that failed. What was given out before stays true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    pub failure: Failure,
    /// Text that was held back.
    pub text: String,
}

/// Why a request failed, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
    /// The next step, where there is one to tell.
    pub hint: Option<String>,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The request asks for what cannot be.
    Request,
    /// The prompt cannot be given to every model.
    Prompt,
    /// The prompt is longer than the context.
    ContextLength,
    /// Too much is asked for at once.
    Busy,
    /// The engine is being loaded, or started again.
    Unavailable,
    /// Models, files or the computation.
    Internal,
}

impl Failure {
    /// Too much is asked for at once.
    pub fn busy(message: impl Into<String>) -> Self {
        Self { kind: Kind::Busy, message: message.into(), hint: Some("try again later".to_owned()) }
    }

    /// As many requests wait as may wait.
    #[must_use]
    pub fn full() -> Self {
        Self::busy("as many requests are waiting as may wait")
    }

    /// Nobody waits for it any more.
    #[must_use]
    pub fn cancelled() -> Self {
        Self { kind: Kind::Request, message: "it was cancelled before its prompt was read".to_owned(), hint: None }
    }

    /// The engine is not there, and comes back.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: Kind::Unavailable, message: message.into(), hint: Some("try again later".to_owned()) }
    }

    /// Whether what was asked for is at fault.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.kind == Kind::Request
    }
}

impl From<steer::Error> for Failure {
    fn from(error: steer::Error) -> Self {
        let kind = match &error {
            steer::Error::PromptTooLong { .. } => Kind::ContextLength,
            steer::Error::EmptyPrompt { .. } | steer::Error::Lacking { .. } | steer::Error::Prompt { .. } => {
                Kind::Prompt
            }
            error if error.is_usage() => Kind::Request,
            _ => Kind::Internal,
        };
        Self { kind, message: error.to_string(), hint: error.hint().map(str::to_owned) }
    }
}
