//! What can go wrong between the lanes.

use std::path::PathBuf;

use super::Role;
use crate::llama::Token;
use crate::vocab::compare::Differences;
use crate::{gguf, llama, prompt};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{role}: {source}")]
    File { role: Role, source: gguf::Error },

    #[error("{role}, its adapter: {source}")]
    Adapter { role: Role, source: gguf::Error },

    #[error("{role}: {} holds a vocabulary and no weights", path.display())]
    NoWeights { role: Role, path: PathBuf },

    #[error("the {role} {} has another tokenizer than the base: {differences}", path.display())]
    Vocabulary { role: Role, path: PathBuf, differences: Box<Differences> },

    #[error("the {role} {} has other special tokens than the base: {differences}", path.display())]
    Drift { role: Role, path: PathBuf, differences: Box<Differences> },

    #[error("{role}: its vocabulary lacks the base's token {token}")]
    Lacking { role: Role, token: Token },

    #[error("{role}: {source}")]
    Lane { role: Role, source: llama::Error },

    #[error("{role}: {name} is not a file here")]
    NotHere { role: Role, name: String },

    #[error("{role}: {source}")]
    Prompt { role: Role, source: prompt::Error },

    #[error("{role}: {} has no chat template", path.display())]
    NoTemplate { role: Role, path: PathBuf },

    #[error("{role}: cannot read the template {:?}: {source}", path.display().to_string())]
    TemplateFile { role: Role, path: PathBuf, source: std::io::Error },

    #[error("{role}: it is to see what the expert sees, and there is no other expert")]
    NoExpert { role: Role },

    #[error("{got} values of α are given for {}, expected one for all or one for each", if *n_pairs == 1 { "1 pair".to_owned() } else { format!("{n_pairs} pairs") })]
    Alphas { got: usize, n_pairs: usize },

    /// Of the sampler chain, which belongs to no role.
    #[error(transparent)]
    Chain(llama::Error),

    #[error("{role}: the prompt is empty and the model puts no token in front of it")]
    EmptyPrompt { role: Role },

    #[error("{role}: the prompt has {n_prompt} tokens, a context of {n_ctx} leaves no room for an answer")]
    PromptTooLong { role: Role, n_prompt: usize, n_ctx: usize },

    #[error(
        "the {role} is the base, which the host runs: its logits are not at hand here, and it has no second prompt. \
         Give the {role} a small model of its own, or leave that side out"
    )]
    OfBase { role: Role },

    #[error("the recipe gives the {role} a template or prompt of its own; here the host feeds each role its tokens")]
    OwnPrompt { role: Role },

    #[error("the {role} has no tokens: none were fed or accepted")]
    NothingFed { role: Role },

    #[error("all sequences are in use")]
    NoSequence,

    #[error("the lanes could not be brought back in step after an earlier error")]
    OutOfStep,
}

/// Names the role whose lane failed.
pub(super) fn in_lane(role: Role) -> impl Fn(llama::Error) -> Error {
    move |source| Error::Lane { role, source }
}
