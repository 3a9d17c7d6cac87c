//! What can go wrong between the lanes.

use std::path::PathBuf;

use super::Role;
use crate::arithmetic::offset::NotFinite;
use crate::llama::Token;
use crate::llama::stage::Failure;
use crate::parameter::OutOfRange;
use crate::vocab::compare::Differences;
use crate::{gguf, llama, prompt, remote, text_file};

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

    #[error("{role}: the template cannot be used: {source}")]
    TemplateFile { role: Role, source: text_file::Error },

    #[error("{role}: it is to see what the expert sees, and there is no other expert")]
    NoExpert { role: Role },

    #[error("{got} values of α are given for {}, expected one for all or one for each", if *n_pairs == 1 { "1 pair".to_owned() } else { format!("{n_pairs} pairs") })]
    Alphas { got: usize, n_pairs: usize },

    #[error("there is no pair {name:?}, expected {}", if known.is_empty() { "none".to_owned() } else { format!("one of {known}") })]
    NoPair { name: String, known: String },

    #[error(transparent)]
    Parameter(#[from] OutOfRange),

    /// Of the sampler chain, which belongs to no role.
    #[error(transparent)]
    Chain(llama::Error),

    #[error("{role}: the prompt is empty and the model puts no token in front of it")]
    EmptyPrompt { role: Role },

    #[error("an answer has no token to predict")]
    NothingToPredict,

    #[error("{role}: the prompt has {n_prompt} tokens, a context of {n_ctx} leaves no room for an answer")]
    PromptTooLong { role: Role, n_prompt: usize, n_ctx: usize },

    #[error(
        "the {role} is the base, which the host runs: its logits are not at hand here, and it has no second prompt. \
         Give the {role} a small model of its own, or leave that side out"
    )]
    OfBase { role: Role },

    #[error("the recipe gives the base a weight of its own (base_weight), and here the host decodes the base")]
    BaseWeight,

    #[error("the recipe gives the {role} a template or prompt of its own; here the host feeds each role its tokens")]
    OwnPrompt { role: Role },

    #[error("the {role} has no tokens: none were fed or accepted")]
    NothingFed { role: Role },

    #[error("{role}: {source}")]
    Remote { role: Role, source: Box<remote::Error> },

    #[error("the {role} is on a server, which cannot be asked that")]
    NotLocal { role: Role },

    #[error("the base is on a server, and no small model has its tokenizer")]
    NoSpeller,

    #[error("the server shows {n_shown} of the base's log-probabilities, and none of these tokens may be chosen")]
    NothingShown { n_shown: usize },

    #[error("all sequences are in use")]
    NoSequence,

    #[error("a text is open on the models, expected none")]
    InUse,

    #[error("there is no {role}")]
    NoLane { role: Role },

    #[error("the {role} writes the text by itself, so there is nothing to steer")]
    NotSteered { role: Role },

    #[error("the answer cannot begin with the token at position {position}: {source}")]
    Begun { position: usize, source: Box<Error> },

    #[error("the {role} computes what the {other} does, so it cannot be shown anything else")]
    SharedLane { role: Role, other: Role },

    #[error("the {role} is asked for another template, expected a system prompt, a prefix or a prompt")]
    OwnTemplate { role: Role },

    #[error("the {role} is asked for another system prompt, and a text that is given as it is has none")]
    OwnSystem { role: Role },

    #[error("the {role} is asked for a view of its own, and tokens are given to every role as they are")]
    OwnView { role: Role },

    #[error("the {role} is given other tokens than the {sampled}, so that no token of the prompt has one probability")]
    OtherTokens { role: Role, sampled: Role },
}

/// Of a sum of rows each of which is finite.
impl From<NotFinite> for Error {
    fn from(NotFinite { id }: NotFinite) -> Self {
        Self::Chain(Failure::NotFinite { id }.into())
    }
}

impl Error {
    /// Whether what was asked for is at fault, and not a file or a computation.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Lane { source, .. } | Self::Chain(source) => source.is_usage(),
            Self::Remote { source, .. } => source.is_usage(),
            Self::Parameter(_)
            | Self::Alphas { .. }
            | Self::NoPair { .. }
            | Self::NoLane { .. }
            | Self::NotSteered { .. }
            | Self::Begun { .. }
            | Self::SharedLane { .. }
            | Self::OwnTemplate { .. }
            | Self::OwnSystem { .. }
            | Self::OwnView { .. }
            | Self::OtherTokens { .. } => true,
            _ => false,
        }
    }

    /// Whether there would be room if others held less.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Self::Lane { source, .. } = self else { return false };
        matches!(source, llama::Error::ContextFull { .. } | llama::Error::Decode { code: 1, .. })
    }

    /// Whether loading was stopped on purpose.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Lane { source: llama::Error::LoadCancelled, .. })
    }

    /// The next step, where there is one to tell.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { source, .. } | Self::Adapter { source, .. } => source.hint(),
            Self::Lane { source, .. } | Self::Chain(source) => source.hint(),
            Self::Prompt { source, .. } => source.hint(),
            Self::Remote { source, .. } => source.hint(),
            Self::NoSpeller => Some("name an expert with -me and an antiexpert with -ma"),
            Self::NothingShown { .. } => {
                Some("ask for more with --base-logprobs; a grammar or bias may leave out all that is shown")
            }
            Self::NotLocal { .. } => Some("ask that of a base that runs here, with -m FILE"),
            Self::Begun { source, .. } => source.hint(),
            Self::NoWeights { .. } => Some("name the file of the whole model"),
            Self::Vocabulary { .. } => Some("base, expert and antiexpert must come from one family with one tokenizer"),
            Self::Drift { .. } => Some(
                "--allow-vocab-drift (in the C API, allow_vocab_drift) steers with the tokens that are the same; the \
                 base's others are never chosen",
            ),
            Self::Lacking { .. } => Some("the text holds a special token that only the base has"),
            Self::NoTemplate { .. } => {
                Some("give `plain`, a template's file, or one of chatml, gemma, llama3, phi3 and zephyr")
            }
            Self::TemplateFile { source, .. } if !source.is_missing() => Some(source.hint()),
            Self::TemplateFile { .. } => Some(
                "a template is plain, model, expert, chatml, gemma, llama3, phi3, zephyr, Jinja source, or a file's name",
            ),
            Self::NoExpert { .. } => Some("the template may be plain, model, or a file"),
            Self::Alphas { .. } => Some("give one for all pairs, or one for each"),
            Self::NothingToPredict => Some("give it a text that the base's vocabulary has tokens for"),
            Self::EmptyPrompt { .. } => Some("give a prompt with -p TEXT or -f FILE"),
            Self::OwnView { .. } => Some("give the tokens as part of a text"),
            Self::OtherTokens { .. } => Some(
                "give the prompt as tokens, or as a text that every role sees alike: no template, prefix or prompt of its own",
            ),
            Self::PromptTooLong { .. } => Some("shorten the prompt, or give more room with -c"),
            // Their words say what to do already, or there is nothing to do.
            Self::NotHere { .. }
            | Self::Parameter(_)
            | Self::OfBase { .. }
            | Self::OwnPrompt { .. }
            | Self::BaseWeight
            | Self::NothingFed { .. }
            | Self::NoSequence
            | Self::InUse
            | Self::NoPair { .. }
            | Self::NoLane { .. }
            | Self::NotSteered { .. }
            | Self::SharedLane { .. }
            | Self::OwnTemplate { .. }
            | Self::OwnSystem { .. } => None,
        }
    }
}

/// Names the role whose server failed.
pub fn on_server(role: Role) -> impl Fn(remote::Error) -> Error {
    move |source| Error::Remote { role, source: Box::new(source) }
}

/// Names the role whose lane failed.
pub fn in_lane(role: Role) -> impl Fn(llama::Error) -> Error {
    move |source| Error::Lane { role, source }
}
