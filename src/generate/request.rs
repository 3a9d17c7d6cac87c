//! What is asked of one generation.

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use crate::llama::Token;
use crate::parameter::OutOfRange;
use crate::prompt::{Conversation, Piece};
use crate::recipe::View;
use crate::sampling::{Sampling, check_list};
use crate::steer::{Error, Loaded, Prompts, Role, Sampled, WeightsRequest};

/// What a text is to continue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Every lane is given what its view makes of it.
    Conversation(Conversation),
    /// A text that nobody puts into a template, as llama-server's `/completion` takes it: pieces of text, and tokens by the ids of
    /// the lane that is sampled from. Every lane is given its own view's prefix in front of it, and its view's prompt in its
    /// place. The token that a model wants in front of a text is put there unless the first piece is tokens.
    Raw(Vec<Piece>),
    /// The same on every lane, whatever the views, by the ids of the lane that is sampled from.
    Tokens(Vec<Token>),
}

impl Input {
    /// A text as it is; names of special tokens in it are tokens.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Raw(vec![Piece::Raw(text.into())])
    }

    /// What every lane in use is given.
    pub fn prompts(&self, loaded: &Loaded, sampled: Sampled, views: &[(Role, View)]) -> Result<Prompts, Error> {
        match (self, views.first()) {
            (Self::Conversation(conversation), _) => loaded.prompts(sampled, conversation, views),
            (Self::Raw(pieces), _) => loaded.raw(sampled, pieces, views),
            (Self::Tokens(tokens), None) => loaded.same(sampled, tokens),
            (Self::Tokens(_), Some((role, _))) => Err(Error::OwnView { role: *role }),
        }
    }
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
    /// Tokens that the answer begins with, by the ids of the lane that is sampled from. They stand behind the prompt on every
    /// lane, and the answer goes on behind them: they are not told again, and [`Self::n_predict`] does not count them.
    /// Positions of the answer count them, and grammars, stop strings and samplers that look back know them. Random numbers
    /// begin anew behind them.
    pub begin: Vec<Token>,
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
    /// The same for every token of the prompt behind the first: how probable it is where the answer would begin there. Every
    /// lane in use has to be given the same tokens.
    pub prompt_probs: Option<usize>,
    /// Of every reported position of the answer, also how far the steered distribution is from the base's.
    pub divergence: bool,
    /// How tokens are drafted, as far as the contexts have room for their rows.
    pub draft: Draft,
}

/// Every stop text is looked for behind every token.
const MAX_STOPS: usize = 128;
const MAX_STOP_BYTES: usize = 1024;

impl Request {
    /// Refuses what no text could be generated with, or none in time. `n_vocab`: of the lane that is sampled from.
    pub(super) fn validate(&self, n_vocab: usize) -> Result<(), OutOfRange> {
        self.draft.validate()?;
        if !self.begin.is_empty() {
            let has_tools = matches!(&self.input, Input::Conversation(conversation) if conversation.tools.is_some());
            let beside = [("prompt-probs", self.prompt_probs.is_some()), ("tools", has_tools)];
            if let Some((other, _)) = beside.iter().find(|(_, is_given)| *is_given) {
                return Err(OutOfRange::new("begin", format!("given beside {other}"), "one of the two"));
            }
        }
        check_list("stop", &self.stop, MAX_STOPS, MAX_STOP_BYTES)?;
        let n_biases = self.sampling.logit_bias.len();
        if n_biases > n_vocab {
            let expected = format!("at most one for each of the {n_vocab} tokens");
            return Err(OutOfRange::new("logit-bias", format!("{n_biases} biases"), expected));
        }
        for (name, n) in [("n-probs", self.n_probs), ("prompt-probs", self.prompt_probs)] {
            if let Some(n) = n.filter(|&n| n > n_vocab) {
                return Err(OutOfRange::new(name, n, format!("at most the {n_vocab} tokens of the vocabulary")));
            }
        }
        Ok(())
    }

    /// What every lane in use is given, the begun answer included.
    pub fn prompts(&self, loaded: &Loaded) -> Result<Prompts, Error> {
        let mut prompts = self.input.prompts(loaded, self.sampled, &self.views)?;
        loaded.extend(&mut prompts, self.sampled, &self.begin)?;
        Ok(prompts)
    }

    /// Bytes of text that become prompts; what a template puts around each message is some too.
    #[must_use]
    pub fn n_text_bytes(&self) -> usize {
        /// Around a message.
        const N_AROUND: usize = 16;
        let n_input = match &self.input {
            Input::Conversation(conversation) => {
                let messages = conversation.messages.iter().map(|message| message.text.len() + N_AROUND);
                messages.sum::<usize>() + conversation.prefix.len()
            }
            Input::Raw(pieces) => pieces.iter().map(Piece::n_text_bytes).sum(),
            Input::Tokens(_) => 0,
        };
        let of_view = |view: &View| {
            let texts = [&view.prompt, &view.prefix, &view.system];
            texts.into_iter().flatten().map(String::len).sum::<usize>()
        };
        n_input + self.views.iter().map(|(_, view)| of_view(view)).sum::<usize>()
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
