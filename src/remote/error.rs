//! What can go wrong between here and a server that holds the base.

use std::time::Duration;

use crate::parameter::OutOfRange;
use crate::recipe::remote::Api;
use crate::text_file;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    File(#[from] text_file::Error),

    #[error(transparent)]
    Parameter(#[from] OutOfRange),

    #[error("{from} holds no key, expected printable ASCII without spaces")]
    Key { from: String },

    #[error("the key would go to {url} unencrypted")]
    PlainKey { url: String },

    #[error("this build has no bases on servers")]
    NotBuilt,

    #[error("{url} cannot be reached: {what}")]
    Unreachable { url: String, what: String },

    #[error("{url} said nothing for {} s", waited.as_secs())]
    TimedOut { url: String, waited: Duration },

    #[error("the connection to {url} failed: {what}")]
    Cut { url: String, what: String },

    #[error("{url} answered with HTTP {status}{}", and(said))]
    Status { url: String, status: u16, said: String, retry_after: Option<Duration> },

    #[error("{url} denies access (HTTP {status}){}", and(said))]
    Denied { url: String, status: u16, had_key: bool, said: String },

    #[error("{url} answered with {what}")]
    Garbage { url: String, what: String },

    #[error("{source}; that was try {n_tries}")]
    GaveUp { n_tries: u32, source: Box<Error> },

    #[error("the server changed its model: it was {expected:?}, and is {got:?}")]
    ModelChanged { expected: String, got: String },

    #[error("{url} speaks none of {}", Api::ALL.map(Api::name).join(", "))]
    NoApi { url: String },

    #[error("{url} has several models: {}", names.join(", "))]
    SeveralModels { url: String, names: Vec<String> },

    #[error("{url} has no model {name:?}, expected one of {}", names.join(", "))]
    NoModel { url: String, name: String, names: Vec<String> },

    #[error("{url} shows {got} log-probabilities at a position, and {asked} are asked for")]
    TooFew { url: String, asked: u32, got: usize },

    #[error("{url} has another tokenizer than the small models: {what}")]
    OtherTokenizer { url: String, what: String },

    #[error("the tokenizer {path} is not the small models': {what}")]
    OtherFile { path: String, what: String },

    #[error("{path} is no tokenizer.json: {what}")]
    Tokenizer { path: String, what: String },

    #[error("the small models' vocabulary has no bytes for token {token}")]
    NoBytes { token: i32 },

    #[error("the prompt cannot be sent as text: {what}")]
    NotText { what: String },

    #[error("token {token} is none of the server's")]
    NotTheirs { token: i32 },

    #[error("--base-exact cannot do {what}")]
    NotExact { what: String },

    #[error("the server's context holds {n_ctx} tokens, and the text has {n_tokens}")]
    Full { n_ctx: usize, n_tokens: usize },

    #[error("it was stopped while the server was waited for")]
    Stopped,

    #[error("there is no row {row}, expected one of {n_rows}")]
    Row { row: usize, n_rows: usize },
}

/// What a server said, behind what it did.
fn and(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl Error {
    /// Whether the same request may succeed a little later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Cut { .. } | Self::Garbage { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }

    /// How long the server asks to be left alone.
    pub(super) fn retry_after(&self) -> Duration {
        match self {
            Self::Status { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }

    /// Whether what was asked for is at fault.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Parameter(_) | Self::NotExact { .. } | Self::NotText { .. })
    }

    /// The next step, where there is one to tell.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File(source) => Some(source.hint()),
            Self::Key { .. } => Some("give it with --base-api-key-file FILE, or in PROXYTUNE_BASE_API_KEY"),
            Self::PlainKey { .. } => Some("use an https:// address, or a tunnel to this machine"),
            Self::NotBuilt => Some("build proxytune with the feature `remote`"),
            Self::Unreachable { .. } => {
                Some("check the address and that the server runs; `proxytune check` shows what it offers")
            }
            Self::TimedOut { .. } => Some("--base-timeout SECONDS waits longer"),
            Self::Status { status: 404, .. } => Some(
                "--base-api llama-server, vllm or openai says what the server speaks; one that has chats alone cannot go on with a text",
            ),
            Self::Status { status: 429, .. } => {
                Some("the server limits requests: fewer texts at once (-np), or --base-ahead N for fewer requests")
            }
            Self::Denied { had_key: true, .. } => {
                Some("check the key in --base-api-key-file or PROXYTUNE_BASE_API_KEY")
            }
            Self::Denied { had_key: false, .. } => {
                Some("give the server's key with --base-api-key-file FILE, or in PROXYTUNE_BASE_API_KEY")
            }
            Self::GaveUp { source, .. } => source.hint(),
            Self::ModelChanged { .. } => Some("start again: what was written so far is by the first model"),
            Self::NoApi { .. } => Some("say what the server speaks with --base-api"),
            Self::SeveralModels { .. } | Self::NoModel { .. } => Some("name one with --base-model"),
            Self::TooFew { .. } => {
                Some("ask for fewer with --base-logprobs, or let the server show more (vLLM: --max-logprobs)")
            }
            Self::OtherTokenizer { .. } => Some(
                "base and small models must come from one family; --base-tokenizer tokenizer.json names what the server's ids stand for",
            ),
            Self::OtherFile { .. } => Some("base and small models must come from one family with one tokenizer"),
            Self::NotExact { .. } => {
                Some("leave --base-exact out: the server's log-probabilities then go through the whole chain here")
            }
            Self::Full { .. } => Some("start the server with a longer context, or shorten the text"),
            Self::Garbage { .. } | Self::Cut { .. } | Self::Status { status: 500.., .. } => {
                Some("look into the server's own log")
            }
            _ => None,
        }
    }
}
