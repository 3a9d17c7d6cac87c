//! What decoding a token reads, by the files.
//!
//! Weights: every tensor once, but for an embedding that is not the output as well, of which a token takes a row; of
//! a mixture of experts the share of experts that a token is sent through. Cache: what the tokens before take. Adapters
//! and what is computed in between are left out.

use crate::gguf::{self, Header};
use crate::llama::backend::Backend;
use crate::llama::context::{ContextParams, Sequences};
use crate::llama::probe;
use crate::steer::ModelSource;

/// Bytes of one step of one model.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Read {
    pub weights: f64,
    /// For every token before it.
    pub kv_per_token: f64,
}

impl Read {
    pub fn of(backend: &Backend, source: &ModelSource) -> Result<Self, gguf::Error> {
        /// Tokens that a cache is laid out for, to see what one takes.
        const N_CTX: usize = 4096;
        let weights = weights(&Header::read(&source.path)?);
        let context = ContextParams { n_ctx: N_CTX, ..source.context.clone() };
        let layout = probe::layout(backend, &source.path, &source.model, &context, Sequences::ONE);
        let kv_per_token = layout.map_or(0.0, |(_, layout)| layout.kv_bytes as f64 / N_CTX as f64);
        Ok(Self { weights, kv_per_token })
    }
}

fn weights(header: &Header) -> f64 {
    let count = |name: &str| header.integer(&format!("{}.{name}", header.architecture())).map(|n| n as f64);
    let share = match (count("expert_used_count"), count("expert_count")) {
        (Some(used), Some(all)) if all > 0.0 => (used / all).min(1.0),
        _ => 1.0,
    };
    let has_output = header.tensors().iter().any(|tensor| tensor.name == "output.weight");
    let bytes = header.tensors().iter().map(|tensor| {
        let n_bytes = tensor.n_bytes as f64;
        match tensor.name.as_str() {
            "token_embd.weight" if has_output => 0.0,
            name if name.contains("_exps.") => n_bytes * share,
            _ => n_bytes,
        }
    });
    bytes.sum()
}
