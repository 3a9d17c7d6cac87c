//! From a prompt to an end, one token at a time, decoded in rounds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::draft::{Draft, Drafting, Stats};
use super::probs::Position;
use super::text::TextStream;
use crate::llama::chain::Chain;
use crate::llama::guess::Draw;
use crate::llama::{self, Token};
use crate::recipe::Schedule;
use crate::sampling::Sampling;
use crate::steer::{Error, Prompts, Role, Steered};

/// What is asked of one generation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    pub sampling: Sampling,
    /// α of each pair, or one for all; empty for what was planned.
    pub alphas: Vec<Schedule>,
    /// Most tokens to generate; `None` until the model ends or the context is full.
    pub n_predict: Option<usize>,
    /// Strings that end the text; they are not part of it.
    pub stop: Vec<String>,
    /// Candidates to report at each position; 0 looks at the chosen token and the base's best alone, `None` at nothing.
    pub n_probs: Option<usize>,
    /// How tokens are guessed, as far as the contexts have room for their rows.
    pub draft: Draft,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// An end-of-generation token of the base or of an expert, a stop string, or a complete grammar.
    Stop,
    /// `n_predict` tokens, or a full context.
    Length,
    Cancelled,
}

impl Finish {
    /// As `OpenAI`'s and llama.cpp's APIs spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One generated token.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub token: Token,
    /// Text that this token decided: often its own, sometimes none yet, sometimes some that earlier ones left open.
    pub text: String,
    pub position: Option<Position>,
}

/// A running generation. [`Self::step`] until it gives `None`; then [`Self::finish`] says why.
///
/// Whatever ends it, an error too, what was given out before stays true.
pub struct Generation<'a> {
    steered: &'a mut Steered,
    chain: Chain,
    text: TextStream,
    cancel: &'a AtomicBool,
    n_left: usize,
    n_probs: Option<usize>,
    plausibility: f32,
    drafting: Drafting,
    /// The row that is chosen from next, of those that the last decode put out.
    row: usize,
    n_rows: usize,
    /// The token that was chosen last, and may not be in the lanes yet.
    pending: Option<Token>,
    /// Time in the running round.
    spent: Duration,
    finish: Option<Finish>,
    piece: Vec<u8>,
    composed: Vec<f32>,
}

impl<'a> Generation<'a> {
    /// Builds the chain and decodes the prompts. `cancel` is looked at between decodes.
    pub fn start(
        steered: &'a mut Steered,
        prompts: &Prompts,
        request: &Request,
        cancel: &'a AtomicBool,
    ) -> Result<Self, Error> {
        steered.set_alphas(&request.alphas)?;
        let base = steered.base();
        let ignored = if request.sampling.ignore_eos { steered.eog() } else { &[] };
        let never = ignored.iter().chain(steered.never()).copied();
        let mut chain = Chain::new(base.model(), &request.sampling, base.n_ctx(), never).map_err(Error::Chain)?;
        chain.accept_prompt(prompts.base()).map_err(Error::Chain)?;
        let done = steered.prefill(prompts, || !cancel.load(Ordering::Relaxed))?;
        let draw = if request.sampling.temp > 0.0 { Draw::Alike } else { Draw::Likeliest };
        let drafting = Drafting::new(&request.draft, draw, steered, prompts.base());
        let n_left = request.n_predict.unwrap_or(usize::MAX);
        let finish = match (done, n_left) {
            (false, _) => Some(Finish::Cancelled),
            (true, 0) => Some(Finish::Length),
            _ => None,
        };
        Ok(Self {
            steered,
            chain,
            text: TextStream::new(&request.stop),
            cancel,
            n_left,
            n_probs: request.n_probs,
            plausibility: request.sampling.plausibility,
            drafting,
            row: 0,
            n_rows: 1,
            pending: None,
            spent: Duration::ZERO,
            finish,
            piece: Vec::new(),
            composed: Vec::new(),
        })
    }

    /// The next token; `None` when the generation has ended.
    pub fn step(&mut self) -> Result<Option<Step>, Error> {
        let began = Instant::now();
        if self.finish.is_none() && self.cancel.load(Ordering::Relaxed) {
            self.finish = Some(Finish::Cancelled);
            self.settle(None)?;
        }
        if self.finish.is_some() {
            return Ok(None);
        }
        if let Some(token) = self.pending {
            self.advance(token)?;
            self.pending = None;
        }
        let Some((token, position)) = self.choose()? else {
            self.finish = Some(Finish::Stop);
            self.settle(None)?;
            return Ok(None);
        };
        let mut text = self.append(token)?;
        self.n_left -= 1;
        self.finish = if self.steered.is_eog(token) || self.text.stopped() {
            Some(Finish::Stop)
        } else if self.n_left == 0 || self.n_room() == 0 {
            Some(Finish::Length)
        } else {
            None
        };
        self.spent += began.elapsed();
        if self.finish.is_some() {
            text += &self.text.finish();
            self.settle(Some(token))?;
        } else {
            self.pending = Some(token);
        }
        Ok(Some(Step { token, text, position }))
    }

    /// Goes to the row behind a token: one that is there, if the token was guessed, else that of a new decode.
    fn advance(&mut self, token: Token) -> Result<(), Error> {
        let guess = self.drafting.guess(self.row);
        if guess == Some(token) {
            self.row += 1;
            return Ok(());
        }
        self.settle(Some(token))?;
        self.row = 0;
        let Self { drafting, steered, chain, text, cancel, piece, .. } = self;
        let model = steered.base().model().clone();
        let mut ahead = if text.has_no_end() { None } else { Some(text.clone()) };
        let ends = |token| {
            let Some(text) = &mut ahead else { return false };
            piece.clear();
            // A token that cannot be spelled is told when it is chosen.
            if model.append_piece(token, piece).is_ok() {
                text.push(piece);
            }
            text.stopped()
        };
        let n_max = self.n_left.min(steered.n_left());
        self.n_rows = drafting.step(steered, chain, token, n_max, ends, || !cancel.load(Ordering::Relaxed))?;
        Ok(())
    }

    /// Ends the running round, `next` chosen from its row or nothing: what was guessed behind the row leaves the lanes.
    fn settle(&mut self, next: Option<Token>) -> Result<(), Error> {
        let spent = std::mem::take(&mut self.spent);
        self.drafting.settle(self.steered, self.row, next, spent.as_secs_f64());
        self.n_rows = self.row + 1;
        self.steered.keep(self.n_rows)
    }

    /// Tokens that still fit behind the row.
    fn n_room(&self) -> usize {
        self.steered.n_left() + self.n_rows - (self.row + 1)
    }

    /// Chooses from the row, and tells the chain. Nothing where a grammar is complete.
    fn choose(&mut self) -> Result<Option<(Token, Option<Position>)>, Error> {
        let (base, terms) = self.steered.row(self.row)?;
        let token = match self.chain.sample(base, &terms) {
            Ok(token) => token,
            Err(llama::Error::GrammarComplete) => return Ok(None),
            Err(error) => return Err(self.steered.blame(self.row, error)),
        };
        let look = |n| Position::at(self.steered, self.row, token, n, self.plausibility, &mut self.composed);
        let position = self.n_probs.map(look).transpose()?;
        self.chain.accept(token).map_err(|error| self.steered.blame(self.row, error))?;
        Ok(Some((token, position)))
    }

    /// The text that a token decides. An end-of-generation token has none.
    fn append(&mut self, token: Token) -> Result<String, Error> {
        if self.steered.is_eog(token) {
            return Ok(String::new());
        }
        self.piece.clear();
        let piece = self.steered.base().model().append_piece(token, &mut self.piece);
        piece.map_err(|source: llama::Error| Error::Lane { role: Role::Base, source })?;
        Ok(self.text.push(&self.piece))
    }

    /// Text that was held back when the generation was cancelled or failed.
    pub fn rest(&mut self) -> String {
        self.text.finish()
    }

    /// What became of the guesses.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        self.drafting.stats()
    }

    /// Why it ended; `None` while it goes on.
    #[must_use]
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }
}
