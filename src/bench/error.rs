//! Why nothing could be measured.

use crate::generate::Failure;
use crate::{gguf, steer};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Steer(#[from] steer::Error),
    #[error(transparent)]
    Text(#[from] Failure),
    #[error(transparent)]
    File(#[from] gguf::Error),
    #[error(
        "a prompt has {n_prompt} tokens for the {role}, and with {n_gen} to generate it does not fit into a context of {n_ctx}"
    )]
    NoRoom { role: steer::Role, n_prompt: usize, n_gen: usize, n_ctx: usize },
    #[error("a text ended after {n} tokens, expected {n_gen}: the grammar was complete")]
    Ended { n: usize, n_gen: usize },
}
