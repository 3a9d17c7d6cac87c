//! Whether a model's logits depend on how tokens are batched.

use serde::Serialize;

/// What a model promises: where its logits do not depend on it, texts with drafts are those of lockstep, bit by bit;
/// elsewhere they are draws from the same distribution up to rounding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Batches {
    pub role: String,
    /// Whose matrix products it is computed with: ours, by their instructions, llama.cpp's, or a device's.
    pub kernels: String,
    /// `None` where the context is too small to see.
    pub batch_invariant: Option<bool>,
    /// Tokens in the cache before the batches that were compared, and tokens in them.
    pub n_kv: Vec<usize>,
    pub widths: Vec<usize>,
}
