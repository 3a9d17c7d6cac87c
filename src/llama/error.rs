//! What can go wrong at the boundary to llama.cpp.

use std::path::PathBuf;

use super::Token;
use crate::constraint::Refused;
use crate::parameter::OutOfRange;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("llama.cpp could not load {}: {reason}", path.display())]
    Load { path: PathBuf, reason: String },

    #[error("the process has another LlamaBackend, which must be passed on")]
    BackendTaken,

    #[error("loading was cancelled")]
    LoadCancelled,

    #[error("{} cannot generate text: {reason}", path.display())]
    NotGenerative { path: PathBuf, reason: &'static str },

    #[error("llama.cpp could not create a context of {n_ctx} tokens for {}: {reason}", path.display())]
    Context { path: PathBuf, n_ctx: u32, reason: String },

    #[error("the LoRA adapter {} cannot be used: {reason}", path.display())]
    Adapter { path: PathBuf, reason: String },

    #[error("no device is called {name:?}, there are: {}", known.join(", "))]
    Device { name: String, known: Vec<String> },

    #[error("tensors cannot be put into a buffer called {name:?}, there are: {}", known.join(", "))]
    Buffer { name: String, known: Vec<String> },

    #[error("cannot use the RPC server {endpoint:?}: {reason}")]
    Rpc { endpoint: String, reason: String },

    /// It ends the process: see [`super::abort`].
    #[error("{} was lost: it has ended, or the connection to it has", servers(endpoints))]
    RpcLost { endpoints: Vec<String> },

    /// It ends the process: see [`super::abort`].
    #[error("llama.cpp gave up: {reason}")]
    GaveUp { reason: String },

    #[error("the text cannot be tokenised: {reason}")]
    Tokenize { reason: String },

    #[error("token {token} is outside the vocabulary of {n_vocab}")]
    TokenRange { token: Token, n_vocab: usize },

    #[error("the context is full: {n_past} tokens are in it, {n_new} more do not fit into {n_ctx}")]
    ContextFull { n_past: usize, n_new: usize, n_ctx: usize },

    #[error("a batch of {n_tokens} tokens was asked for, this context takes 1 to {n_batch}")]
    BatchSize { n_tokens: usize, n_batch: usize },

    #[error("llama.cpp failed to decode {n_tokens} tokens at position {n_past}: {reason} (code {code})")]
    Decode { n_past: usize, n_tokens: usize, code: i32, reason: String },

    #[error("row {row} was asked for, the last decode put out {n_rows}")]
    Row { row: usize, n_rows: usize },

    #[error("the logit of token {id} is {value}: the model's weights or the computation are damaged")]
    NotFinite { id: usize, value: f32 },

    #[error(transparent)]
    Parameter(#[from] OutOfRange),

    #[error("the grammar is not valid: {reason}")]
    Grammar { reason: String },

    #[error(transparent)]
    Form(#[from] Refused),

    #[error("a row of {got} logits was given, the vocabulary has {expected}")]
    RowSize { got: usize, expected: usize },

    #[error("no token is left to choose: every candidate is masked")]
    NothingToChoose,

    #[error("the chain chose token {id} with a logit of {value}: the sampling parameters leave the range of numbers")]
    Overflow { id: Token, value: f32 },

    #[error("the grammar is complete and takes no further token")]
    GrammarComplete,

    #[error("a chain with adaptive-p cannot be cloned: llama.cpp leaves its state behind")]
    CannotClone,

    #[error("the grammar cannot take token {token} that the chain chose")]
    GrammarRefused { token: Token },

    #[error("the grammar took {seconds:.1} s for {n_tokens} tokens, which is longer than other texts can wait for it")]
    SlowGrammar { seconds: f32, n_tokens: u32 },

    #[error(transparent)]
    Stage(#[from] super::stage::Failure),
}

impl Error {
    /// Whether what was asked for is at fault, and not a file or a computation.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Parameter(_)
                | Self::Device { .. }
                | Self::Buffer { .. }
                | Self::Rpc { .. }
                | Self::TokenRange { .. }
                | Self::Grammar { .. }
                | Self::Form(_)
                | Self::SlowGrammar { .. }
        )
    }

    /// The next step, where there is one to tell.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Form(refused) => refused.hint(),
            Self::Load { .. } | Self::GaveUp { .. } => Some("proxytune's -v shows all that llama.cpp says"),
            Self::Context { .. } => Some(
                "a smaller context (-c; in the C API, n_ctx) or a smaller KV cache type (-ctk, -ctv) needs less memory",
            ),
            Self::SlowGrammar { .. } => Some("one in which a text can be read in fewer ways is faster"),
            Self::Device { .. } => Some("`proxytune devices` lists them"),
            Self::Buffer { .. } => Some("--override-tensor takes pattern=buffer, as in exps=CPU"),
            Self::Rpc { .. } => Some("start llama.cpp's rpc-server there, of the version that proxytune is built with"),
            Self::RpcLost { .. } => Some(
                "see what it said last, start it again, and repeat the command; with less memory there, move fewer layers",
            ),
            Self::Tokenize { .. } => Some("give a shorter text, or a model whose vocabulary has its characters"),
            Self::NotFinite { .. } => Some("`proxytune check --deep` tells whether the file is damaged"),
            Self::NothingToChoose => Some("the grammar, a logit bias or the samplers leave no token"),
            Self::Overflow { .. } => Some("biases, penalties and temperatures this extreme do not go together"),
            _ => None,
        }
    }
}

fn servers(endpoints: &[String]) -> String {
    match endpoints {
        // A host has added it by itself.
        [] => "an RPC server".to_owned(),
        [one] => format!("the RPC server {one}"),
        several => format!("one of the RPC servers {}", several.join(", ")),
    }
}
