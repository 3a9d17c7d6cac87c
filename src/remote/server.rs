//! A server that holds the base, known and made sure of: prompts in, log-probabilities or a token out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::http::{Http, Patience};
use super::ids::Ids;
use super::llama_server::{self, Wanted};
use super::offer::{self, Offer, Verified};
use super::openai::{self, Spelling};
use super::position::Position;
use super::words::{Index, Words};
use super::workers::Workers;
use super::{Error, Secret, Token, stop, tokenizer};
use crate::recipe::Remote;
use crate::recipe::remote::Api;
use crate::sampling::Sampling;
use crate::vocab::Vocabulary;

/// Where a base is, and how one gets in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub spec: Remote,
    pub key: Option<Secret>,
}

impl Source {
    /// A server, with the key that its file or the environment holds.
    pub fn of(spec: Remote) -> Result<Self, Error> {
        spec.validate()?;
        let key = Secret::find(spec.api_key_file.as_deref())?;
        Ok(Self { spec, key })
    }
}

/// A server whose tokenizer is known.
#[derive(Debug)]
pub struct Server {
    http: Http,
    offer: Offer,
    spec: Remote,
    words: Words,
    index: Index,
    ids: Ids,
    /// What the first answer called the model.
    model: Mutex<Option<String>>,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// Log-probabilities that came, and entries that stand for no one token here.
    pub n_shown: usize,
    pub n_dropped: usize,
    /// Probability that is shown.
    pub mass: f64,
    pub took: Duration,
}

/// What an answer brought, by the small models' ids.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Behind the prompt, then behind each token of `written` but the last.
    pub positions: Vec<Position>,
    /// What the base wrote on, as far as it is known.
    pub written: Vec<Token>,
    /// Tokens of the prompt, where the server says how it cut a text.
    pub n_read: Option<u64>,
    /// Requests, and those of them that were sent again.
    pub n_requests: u32,
    pub n_retries: u32,
}

/// What is asked of a server behind a text.
#[derive(Debug, Clone)]
pub(super) enum Question {
    /// A position behind the text, and those behind what the base writes on.
    Look { prompt: Vec<Token>, n_tokens: u32 },
    /// The positions behind the first `n` tokens, behind one more, and so on to the end: vLLM alone.
    /// `keeps_own`: the text's own tokens too, where they are not among the most probable.
    Score { prompt: Vec<Token>, first: usize, keeps_own: bool },
    /// Nothing: the server is to read the text ahead of a question.
    Read { prompt: Vec<Token> },
    /// These ids' log-probabilities behind the text: vLLM alone.
    Name { prompt: Vec<Token>, ids: Vec<Token> },
    /// A token of the distribution that the offsets make.
    Draw { prompt: Vec<Token>, biases: Vec<(Token, Option<f32>)>, sampling: Box<Sampling>, seed: u32 },
}

impl Server {
    /// Asks who is there and makes sure that its ids are the small models', whose vocabulary is given twice: as bytes, and
    /// as their file has it.
    pub fn connect(source: &Source, words: Words, vocabulary: &Vocabulary) -> Result<Self, Error> {
        let (source, vocabulary) = (source.clone(), vocabulary.clone());
        // On a thread of its own: a person may not want to wait for a server that says nothing.
        let mut workers = Workers::new();
        stop::wait_for(&workers.start(move || Self::meet(source, words, &vocabulary)))?
    }

    fn meet(source: Source, words: Words, vocabulary: &Vocabulary) -> Result<Self, Error> {
        let Source { spec, key } = source;
        spec.validate()?;
        let patience = Patience { timeout: spec.patience(), n_retries: spec.n_retries() };
        let http = Http::new(&spec.url, key, patience)?;
        let mut offer = offer::find(&http, &spec)?;
        if spec.exact && offer.api != Api::LlamaServer {
            return Err(Error::NotExact {
                what: format!("with {}, which does not sample from biased logits as llama-server does", offer.api),
            });
        }
        let ids = spec.tokenizer.as_deref().map(|path| tokenizer::ids(path, vocabulary)).transpose()?;
        offer.tokenizer = match (&ids, offer.api) {
            (_, Api::OpenAi) => Verified::Bytes,
            (Some(_), _) => Verified::File,
            (None, _) => offer::verify(&http, &offer, &words, &Ids::default())?,
        };
        let index = words.index();
        Ok(Self { http, offer, spec, words, index, ids: ids.unwrap_or_default(), model: Mutex::new(None) })
    }

    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    #[must_use]
    pub fn spec(&self) -> &Remote {
        &self.spec
    }

    /// Size of the small models' vocabulary.
    #[must_use]
    pub fn n_vocab(&self) -> usize {
        self.words.len()
    }

    /// Log-probabilities at each position.
    #[must_use]
    pub fn n_logprobs(&self) -> u32 {
        self.spec.n_logprobs(self.offer.api).unwrap_or(u32::try_from(self.n_vocab()).unwrap_or(u32::MAX))
    }

    /// Asks for one position, behind two tokens of text: how many log-probabilities came, and how long that took.
    pub fn try_out(&self) -> Result<Trial, Error> {
        let filler = self.words.filler().ok_or(Error::NoBytes { token: 0 })?;
        let question = Question::Look { prompt: vec![filler; 2], n_tokens: 1 };
        // The first request may open a connection, and read a model's weights.
        self.ask(&question)?;
        let began = Instant::now();
        let told = self.ask(&question)?;
        let position = told.positions.first().ok_or_else(|| self.garbage("no log-probabilities".to_owned()))?;
        let (n_shown, n_dropped) = (position.shown.len(), position.n_dropped);
        Ok(Trial { n_shown, n_dropped, mass: position.mass(), took: began.elapsed() })
    }

    /// Whether the server samples, from what is made here of the offset.
    #[must_use]
    pub fn draws(&self) -> bool {
        self.spec.exact
    }

    /// Whether several positions of a text come in one answer.
    #[must_use]
    pub fn scores(&self) -> bool {
        self.offer.api == Api::Vllm
    }

    /// Most ids that it tells of by name, where it does.
    #[must_use]
    pub fn n_named(&self) -> Option<usize> {
        /// vLLM takes no more, and no more than it shows log-probabilities.
        const MOST: u32 = 128;
        let is_part = self.spec.n_logprobs(self.offer.api).is_some();
        (self.offer.api == Api::Vllm && is_part).then(|| self.n_logprobs().min(MOST) as usize)
    }

    /// Tokens that the base writes on in a request.
    pub(super) fn n_ahead(&self) -> u32 {
        // A whole vocabulary is long enough once.
        if self.spec.n_logprobs(self.offer.api).is_none() { 1 } else { self.spec.n_ahead() }
    }

    pub(super) fn ask(&self, question: &Question) -> Result<Told, Error> {
        match (question, self.offer.api) {
            (Question::Look { prompt, n_tokens }, Api::LlamaServer) => self.look_there(prompt, *n_tokens),
            (Question::Look { prompt, n_tokens }, Api::Vllm) => {
                let theirs = self.ids.all_theirs(prompt)?;
                let n = self.spec.n_logprobs(Api::Vllm).map_or(-1, i64::from);
                self.complete(&openai::look_at_ids(&self.offer.model, &theirs, *n_tokens, n, false), 0)
            }
            (Question::Look { prompt, n_tokens }, Api::OpenAi) => {
                let text = self.words.spell(prompt)?;
                self.complete(&openai::look_at_text(&self.offer.model, &text, *n_tokens, self.n_logprobs()), 0)
            }
            (Question::Score { prompt, first, keeps_own }, _) => {
                let theirs = self.ids.all_theirs(prompt)?;
                let n = self.spec.n_logprobs(Api::Vllm).map_or(-1, i64::from);
                let mut told = self.complete(&openai::look_at_ids(&self.offer.model, &theirs, 1, n, true), *first)?;
                told.positions.iter_mut().for_each(|position| position.keep(self.n_logprobs() as usize, *keeps_own));
                Ok(told)
            }
            (Question::Read { prompt }, _) => {
                let request = llama_server::read_ahead(&self.ids.all_theirs(prompt)?);
                let (answer, n_retries) = self.http.ask(llama_server::PATH, Some(&request), |_| Ok(Told::default()));
                answer.map(|told| Told { n_requests: 1 + n_retries, n_retries, ..told })
            }
            (Question::Name { prompt, ids }, _) => {
                let (theirs, named) = (self.ids.all_theirs(prompt)?, self.ids.all_theirs(ids)?);
                let mut told = self.complete(&openai::look_at_named(&self.offer.model, &theirs, &named), 0)?;
                // The token that was written comes too.
                told.positions.iter_mut().for_each(|position| position.shown.retain(|(id, _)| ids.contains(id)));
                Ok(told)
            }
            (Question::Draw { prompt, biases, sampling, seed }, _) => self.draw(prompt, biases, sampling, *seed),
        }
    }

    /// What cannot be read as it should.
    fn garbage(&self, what: String) -> Error {
        self.http.garbage(what)
    }

    /// Refuses an answer of another model than the first one's.
    fn same_model(&self, answer: &serde_json::Value) -> Result<(), Error> {
        let Some(got) = answer["model"].as_str() else { return Ok(()) };
        let mut known = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        match known.as_ref() {
            Some(expected) if expected != got => {
                Err(Error::ModelChanged { expected: self.http.shown(expected), got: self.http.shown(got) })
            }
            Some(_) => Ok(()),
            None => {
                *known = Some(got.to_owned());
                Ok(())
            }
        }
    }

    /// Refuses a position that shows less than the server can.
    fn is_whole(&self, position: &Position) -> Result<(), Error> {
        let (asked, got) = (self.n_logprobs(), position.shown.len() + position.n_dropped);
        if got == 0 {
            return Err(self.garbage("no log-probabilities".to_owned()));
        }
        // OpenAI's are as many as there are words that differ, which may be fewer.
        if self.offer.api != Api::OpenAi && got < asked.min(u32::try_from(self.n_vocab()).unwrap_or(u32::MAX)) as usize
        {
            return Err(self.garbage(format!("{got} log-probabilities of {asked} that were asked for")));
        }
        if position.shown.is_empty() {
            let what = "none of the words that it shows is one of their tokens".to_owned();
            return Err(Error::OtherTokenizer { url: self.http.root().to_owned(), what });
        }
        Ok(())
    }

    fn look_there(&self, prompt: &[Token], n_tokens: u32) -> Result<Told, Error> {
        let theirs = self.ids.all_theirs(prompt)?;
        let n_logprobs = self.n_logprobs();
        let look = |wanted: Wanted| {
            let request = llama_server::look(&theirs, wanted);
            let (answer, n_retries) = self.http.ask(llama_server::PATH, Some(&request), |answer| {
                self.same_model(answer)?;
                let garbage = |what| self.garbage(what);
                let answer = llama_server::read(answer, self.n_vocab(), |id| self.ids.own(id), &garbage)?;
                let mut told = Told::default();
                // Of a token that ends within a character nothing is told, nor of what follows in that character.
                let known = answer.positions.into_iter().zip(answer.tokens);
                for ((id, position), token) in known.take_while(|((id, _), token)| id == token) {
                    self.is_whole(&position)?;
                    told.positions.push(position);
                    match id.or(token) {
                        Some(token) => told.written.push(token),
                        None => break,
                    }
                }
                Ok(told)
            });
            answer.map(|told| Told { n_requests: 1 + n_retries, n_retries, ..told })
        };
        let told = look(Wanted { n_tokens, n_logprobs, forced: None })?;
        if !told.positions.is_empty() {
            return Ok(told);
        }
        let filler = self.words.filler().ok_or_else(|| self.garbage("no log-probabilities".to_owned()))?;
        let forced = look(Wanted { n_tokens: 1, n_logprobs, forced: Some(self.ids.theirs(filler)?) })?;
        if forced.positions.is_empty() {
            return Err(self.garbage("no log-probabilities".to_owned()));
        }
        let (n_requests, n_retries) = (told.n_requests + forced.n_requests, told.n_retries + forced.n_retries);
        Ok(Told { written: Vec::new(), n_requests, n_retries, ..forced })
    }

    /// Asks `/v1/completions`; the positions from `first` on where a prompt is scored.
    fn complete(&self, request: &serde_json::Value, first: usize) -> Result<Told, Error> {
        let scores = request.get("prompt_logprobs").is_some();
        let is_named = request.get("logprob_token_ids").is_some();
        let (answer, n_retries) = self.http.ask(openai::PATH, Some(request), |answer| {
            self.same_model(answer)?;
            let garbage = |what| self.garbage(what);
            let own = |id| self.ids.own(id);
            let spelling = match self.offer.api {
                Api::OpenAi => Spelling::Bytes(&self.index),
                _ => Spelling::Ids(&own),
            };
            let read = openai::read(answer, self.n_vocab(), &spelling, &garbage)?;
            let mut told = Told { n_read: answer["usage"]["prompt_tokens"].as_u64(), ..Told::default() };
            if scores {
                let prompt = openai::read_prompt(answer, self.n_vocab(), own, &garbage)?;
                told.positions.extend(prompt.into_iter().skip(first.saturating_sub(1)));
            }
            if read.has_ended {
                // It says nothing but that it would end here.
                let end =
                    self.words.eog().ok_or_else(|| self.garbage("the end of a text that has no end".to_owned()))?;
                told.positions.push(Position::certain(end));
                return Ok(told);
            }
            for (position, token) in read.positions.into_iter().zip(read.tokens) {
                if !is_named {
                    self.is_whole(&position)?;
                }
                told.positions.push(position);
                match token {
                    Some(token) if !self.words.is_eog(token) => told.written.push(token),
                    _ => break,
                }
            }
            if told.positions.is_empty() { Err(self.garbage("no log-probabilities".to_owned())) } else { Ok(told) }
        });
        answer.map(|told| Told { n_requests: 1 + n_retries, n_retries, ..told })
    }

    fn draw(
        &self,
        prompt: &[Token],
        biases: &[(Token, Option<f32>)],
        sampling: &Sampling,
        seed: u32,
    ) -> Result<Told, Error> {
        let theirs = self.ids.all_theirs(prompt)?;
        let mut biases: Vec<_> =
            biases.iter().filter_map(|(id, bias)| Some((self.ids.theirs(*id).ok()?, *bias))).collect();
        // Tokens that only the base has are never chosen.
        let n_theirs = self.offer.n_vocab.and_then(|n| Token::try_from(n).ok()).unwrap_or(0);
        let is_ours = |id: Token| self.ids.own(id.into()).is_some_and(|own| (own as usize) < self.n_vocab());
        biases.extend((0..n_theirs).filter(|id| !is_ours(*id)).map(|id| (id, None)));
        let request = llama_server::draw(&theirs, &biases, sampling, seed, self.n_logprobs());
        let (answer, n_retries) = self.http.ask(llama_server::PATH, Some(&request), |answer| {
            self.same_model(answer)?;
            let garbage = |what| self.garbage(what);
            let answer = llama_server::read(answer, self.n_vocab(), |id| self.ids.own(id), &garbage)?;
            let token = answer.tokens.first().copied().flatten();
            let is_ours = |token: &Token| usize::try_from(*token).is_ok_and(|id| id < self.n_vocab());
            let Some(token) = token.filter(is_ours) else {
                return Err(self.garbage("no token of the small models".to_owned()));
            };
            let position = answer.positions.into_iter().next().map(|(_, position)| position);
            Ok(Told { positions: position.into_iter().collect(), written: vec![token], ..Told::default() })
        });
        answer.map(|told| Told { n_requests: 1 + n_retries, n_retries, ..told })
    }
}
