//! What only llama.cpp knows about a file.

use serde::{Deserialize, Serialize};

use crate::llama::backend::Backend;
use crate::llama::invariance::Invariance;
use crate::llama::probe::{self, Layout, Vocabulary};
use crate::llama::{Error, rpc};
use crate::steer::ModelSource;

/// Everything that a process needs to know to answer with a [`Probed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub source: ModelSource,
    /// Servers whose devices the source may name.
    pub rpc: Vec<String>,
    /// Load the weights and decode.
    pub deep: bool,
}

/// llama.cpp's answers, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    pub vocabulary: Result<Vocabulary, String>,
    pub layout: Result<Layout, String>,
    /// `None` where it was not asked for, or where the layout failed already.
    pub decoded: Option<Result<Invariance, String>>,
}

/// Asks the llama.cpp of this process.
#[must_use]
pub fn run(backend: &Backend, request: &Request) -> Probed {
    let Request { source, rpc, deep } = request;
    let words = |error: Error| match error {
        Error::Load { reason, .. } | Error::Context { reason, .. } => reason,
        error => error.to_string(),
    };
    let vocabulary = probe::vocabulary(backend, &source.path).map_err(words);
    let servers = rpc.iter().try_for_each(|endpoint| rpc::add_server(backend, endpoint));
    let layout = servers.and_then(|()| probe::layout(backend, &source.path, &source.model, &source.context));
    let decode = || probe::decode(backend, &source.path, &source.adapters, &source.model, &source.context);
    let decoded = (*deep && layout.is_ok()).then(|| decode().map_err(words));
    Probed { vocabulary, layout: layout.map_err(words), decoded }
}
