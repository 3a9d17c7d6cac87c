//! What is scored: windows of a text, the answers of documents, or one answer.
//!
//! A text is cut into windows that do not overlap. A window holds as many tokens as the context, the model's BOS in front
//! where it has one, and every token behind the first of the window is scored given those before it. Of a document the
//! answer alone is scored: each lane reads the prompt under its own view, as it would to answer it, then the same tokens,
//! which are the base's for the answer behind its prompt. What would end the answer is not scored.

use super::Document;
use crate::llama::Token;
use crate::prompt::{Conversation, Message, Speaker};
use crate::steer::error::in_lane;
use crate::steer::{Ensemble, Error, Loaded, Prompts, Role, Sampled};

/// What each lane reads, and the tokens behind that which are scored, by the base's ids: one answer, or several that are
/// held against one another. None is empty.
#[derive(Debug, Clone)]
pub struct Text {
    pub(super) prompts: Prompts,
    pub(super) answers: Vec<Vec<Token>>,
}

impl Text {
    /// Several answers to a conversation.
    pub fn answers(loaded: &Loaded, conversation: &Conversation, answers: &[String]) -> Result<Self, Error> {
        let prompts = loaded.prompts(Sampled::Steered, conversation, &[])?;
        let of = |answer: &String| continuation(loaded, conversation.clone(), prompts.sampled(), answer);
        let answers = answers.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        if let Some(lane) = (0..prompts.n_lanes()).find(|&lane| prompts.lane(lane).is_empty()) {
            return Err(Error::EmptyPrompt { role: loaded.lanes()[lane].role });
        }
        if answers.iter().any(Vec::is_empty) {
            return Err(Error::NothingToPredict);
        }
        Ok(Self { prompts, answers })
    }

    /// A text with nothing in front of it but the model's BOS. Where it has none, nothing predicts the first token; `None` if
    /// that is all.
    pub fn by_itself(loaded: &Loaded, text: &str) -> Result<Option<Self>, Error> {
        let model = loaded.model(0);
        let mut tokens = model.tokenize_text(text, false, false).map_err(in_lane(Role::Base))?;
        let first = match model.leading_bos() {
            Some(bos) => bos,
            None if tokens.is_empty() => return Ok(None),
            None => tokens.remove(0),
        };
        let prompts = loaded.same(Sampled::Steered, &[first])?;
        Ok((!tokens.is_empty()).then(|| Self::one(prompts, tokens)))
    }

    fn one(prompts: Prompts, answer: Vec<Token>) -> Self {
        Self { prompts, answers: vec![answer] }
    }

    /// Tokens that are scored.
    #[must_use]
    pub fn n_tokens(&self) -> usize {
        self.answers.iter().map(Vec::len).sum()
    }

    /// Tokens that a lane reads at most: the last of an answer is predicted and never read.
    #[must_use]
    pub fn longest(&self) -> usize {
        let longest = self.answers.iter().map(Vec::len).max().unwrap_or(0);
        self.prompts.longest() + longest.saturating_sub(1)
    }
}

/// What groups the tokens of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Window,
    Document,
}

/// Texts that depend on one another no more than windows of a text do.
#[derive(Debug, Clone)]
pub struct Texts {
    pub(super) all: Vec<Text>,
    pub group: Group,
    /// Documents that were left out: some lane's context does not hold their prompt and answer.
    pub n_too_long: usize,
}

impl Texts {
    /// The windows of a text, at most `max` of them.
    pub fn windows(ensemble: &Ensemble, text: &str, max: Option<usize>) -> Result<Self, Error> {
        let (n_ctx, model) = (ensemble.n_ctx(), ensemble.model(0));
        let bos = model.leading_bos();
        let mut tokens = model.tokenize(text).map_err(in_lane(Role::Base))?;
        if bos.is_some() && tokens.first() == bos.as_ref() {
            tokens.remove(0);
        }
        let n_new = (n_ctx - usize::from(bos.is_some())).max(1);
        let mut texts = Vec::new();
        for new in tokens.chunks(n_new).take(max.unwrap_or(usize::MAX)) {
            let (first, answer) = match bos {
                Some(bos) => (bos, new),
                None => (new[0], &new[1..]),
            };
            if !answer.is_empty() {
                let prompts = ensemble.same(Sampled::Steered, &[first])?;
                texts.push(Text::one(prompts, answer.to_vec()));
            }
        }
        Ok(Self { all: texts, group: Group::Window, n_too_long: 0 })
    }

    /// The answers of documents. `system` is the system prompt of those without one.
    pub fn documents(ensemble: &Ensemble, documents: &[Document], system: Option<&str>) -> Result<Self, Error> {
        let mut texts = Self { all: Vec::new(), group: Group::Document, n_too_long: 0 };
        for Document { conversation, answer } in documents {
            let mut conversation = conversation.clone();
            let has_system = conversation.messages.iter().any(|message| message.speaker == Speaker::System);
            if let Some(system) = system.filter(|_| !has_system) {
                conversation.messages.insert(0, Message::new(Speaker::System, system));
            }
            let prompts = ensemble.prompts(Sampled::Steered, &conversation, &[])?;
            let answer = continuation(ensemble.loaded(), conversation, prompts.sampled(), answer)?;
            texts.add(ensemble, Text::one(prompts, answer))?;
        }
        Ok(texts)
    }

    /// An answer to a conversation as a text; none where that has no token.
    pub fn given(ensemble: &Ensemble, conversation: &Conversation, answer: &str) -> Result<Self, Error> {
        let prompts = ensemble.prompts(Sampled::Steered, conversation, &[])?;
        let answer = continuation(ensemble.loaded(), conversation.clone(), prompts.sampled(), answer)?;
        Self::answer(ensemble, prompts, answer)
    }

    /// An answer as its tokens, by the base's ids, behind what each lane was given; none where there is no token.
    pub fn answer(ensemble: &Ensemble, prompts: Prompts, answer: Vec<Token>) -> Result<Self, Error> {
        let mut texts = Self { all: Vec::new(), group: Group::Document, n_too_long: 0 };
        if !answer.is_empty() {
            texts.add(ensemble, Text::one(prompts, answer))?;
        }
        Ok(texts)
    }

    /// Adds a text, or counts it where there is no room for it.
    fn add(&mut self, ensemble: &Ensemble, text: Text) -> Result<(), Error> {
        match ensemble.check_room(&text.prompts, Sampled::Steered) {
            Err(Error::PromptTooLong { .. }) => self.n_too_long += 1,
            Err(error) => return Err(error),
            Ok(()) if text.longest() > ensemble.n_ctx() => self.n_too_long += 1,
            Ok(()) => self.all.push(text),
        }
        Ok(())
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Tokens that are scored.
    #[must_use]
    pub fn n_tokens(&self) -> usize {
        self.all.iter().map(Text::n_tokens).sum()
    }

    /// What every lane reads at the beginning of all texts.
    #[must_use]
    pub fn beginning(&self) -> Prompts {
        let mut prompts = self.all.iter().map(|text| &text.prompts);
        let mut beginning = prompts.next().cloned().unwrap_or_default();
        prompts.for_each(|other| beginning.keep_common(other));
        beginning
    }

    /// What the base reads in front of a text, by its own ids.
    #[must_use]
    pub fn prompt(&self, text: usize) -> &[Token] {
        self.all.get(text).map_or(&[], |text| text.prompts.lane(0))
    }

    /// Leaves out what comes behind `n_tokens` tokens; the last text is there to its end.
    pub fn truncate(&mut self, n_tokens: usize) {
        let mut n = 0;
        let is_within = |text: &Text| {
            let is_within = n < n_tokens;
            n += text.n_tokens();
            is_within
        };
        let n_texts = self.all.iter().map(is_within).take_while(|is_within| *is_within).count();
        self.all.truncate(n_texts);
    }
}

/// An answer's tokens as they follow a prompt: those that the base's prompt gains by it, or where the two run into one
/// token, those of the answer by itself.
fn continuation(
    loaded: &Loaded,
    conversation: Conversation,
    prompt: &[Token],
    answer: &str,
) -> Result<Vec<Token>, Error> {
    let conversation = Conversation { prefix: format!("{}{answer}", conversation.prefix), ..conversation };
    let both = loaded.prompts(Sampled::Alone(Role::Base), &conversation, &[])?;
    match both.sampled().strip_prefix(prompt) {
        Some(gained) if !gained.is_empty() => Ok(gained.to_vec()),
        _ => loaded.model(0).tokenize_text(answer, false, false).map_err(in_lane(Role::Base)),
    }
}
