//! What is asked of one generation.

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use crate::llama::Token;
use crate::parameter::OutOfRange;
use crate::prompt::Conversation;
use crate::recipe::View;
use crate::sampling::{Sampling, check_list};
use crate::steer::{Role, Sampled, WeightsRequest};

/// What a text is to continue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Every lane is given what its view makes of it.
    Conversation(Conversation),
    /// The same on every lane, by the ids of the lane that is sampled from.
    Tokens(Vec<Token>),
}

impl Default for Input {
    fn default() -> Self {
        Self::Conversation(Conversation::default())
    }
}

/// What is asked of one generation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    pub input: Input,
    /// The steered text, or one role by itself.
    pub sampled: Sampled,
    /// What roles see otherwise than planned: a system prompt, a prefix or a prompt of their own.
    pub views: Vec<(Role, View)>,
    pub sampling: Sampling,
    /// How far the pairs steer, where it is not as planned.
    pub weights: WeightsRequest,
    /// Most tokens to generate; `None` until the model ends or the context is full.
    pub n_predict: Option<usize>,
    /// Strings that end the text; they are not part of it.
    pub stop: Vec<String>,
    /// Candidates to report at each position; 0 looks at the chosen token and the base's top token alone, `None` at
    /// nothing.
    pub n_probs: Option<usize>,
    /// How tokens are drafted, as far as the contexts have room for their rows.
    pub draft: Draft,
}

/// Every stop text is looked for behind every token.
const MAX_STOPS: usize = 256;
const MAX_STOP_BYTES: usize = 4096;

impl Request {
    /// Refuses what no text could be generated with, or none in time. `n_vocab`: of the lane that is sampled from.
    pub(super) fn validate(&self, n_vocab: usize) -> Result<(), OutOfRange> {
        self.draft.validate()?;
        check_list("stop", &self.stop, MAX_STOPS, MAX_STOP_BYTES)?;
        let n_biases = self.sampling.logit_bias.len();
        if n_biases > n_vocab {
            let expected = format!("at most one for each of the {n_vocab} tokens");
            return Err(OutOfRange::new("logit-bias", format!("{n_biases} biases"), expected));
        }
        match self.n_probs {
            Some(n) if n > n_vocab => {
                Err(OutOfRange::new("n-probs", n, format!("at most the {n_vocab} tokens of the vocabulary")))
            }
            _ => Ok(()),
        }
    }

    /// Continues a single message.
    #[must_use]
    pub fn prompt(text: impl Into<String>) -> Self {
        Self::of(Conversation::prompt(text))
    }

    /// Continues a conversation.
    #[must_use]
    pub fn of(conversation: Conversation) -> Self {
        Self { input: Input::Conversation(conversation), ..Self::default() }
    }
}
