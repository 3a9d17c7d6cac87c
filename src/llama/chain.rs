//! llama.cpp's samplers in their order with the stage among them: a row of logits in, a token out.

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use llama_cpp_sys_2 as sys;

use super::candidates::Candidates;
use super::constrained::Constrained;
use super::model::Model;
use super::raw_chain::RawChain;
use super::stage::Stage;
use super::{Error, Token, grammar, gumbel};
use crate::arithmetic::offset::Term;
use crate::constraint::Form;
use crate::parameter::OutOfRange;
use crate::sampling::{self, Sampler, Sampling};

/// llama.cpp's `LLAMA_DEFAULT_SEED`: a new seed each time.
const RANDOM_SEED: u32 = u32::MAX;
/// What a grammar may take for a text, and more for each of its tokens: many times what one takes that is not ambiguous.
const GRAMMAR_TIME: Duration = Duration::from_secs(2);
const GRAMMAR_TIME_PER_TOKEN: Duration = Duration::from_millis(100);

/// What a chain keeps to beside its sampling.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds<'a> {
    /// Penalties look back no further.
    pub n_ctx: usize,
    /// Tokens that end a text.
    pub eog: &'a [Token],
    /// Tokens that must not be chosen.
    pub never: &'a [Token],
    /// What the answer has to be, in place of what the sampling says of that.
    pub form: Option<&'a Form>,
}

/// Order: logit bias, grammar, the named samplers with the stage, then the one that chooses.
///
/// What bias and grammar mask is dropped before the named samplers see the row: the grammar masks before anything
/// truncates, so a truncated array never lacks what the grammar needs, and samplers that stumble over masked
/// candidates never meet one.
#[derive(Debug)]
pub struct Chain {
    /// Logit bias and grammar.
    masks: RawChain,
    /// The named samplers and the one that chooses.
    pub(super) named: RawChain,
    pub(super) stage: Option<Stage>,
    /// Nothing happens to a row before the stage adds to it, and the stage does nothing else.
    is_stage_first: bool,
    /// Place of the grammar among the masks, which a form is too.
    grammar: Option<i32>,
    constrained: Option<Constrained>,
    /// What of the form is not kept.
    notes: Vec<String>,
    /// The grammar refused a token; llama.cpp aborts if it is asked again.
    stuck: Option<Token>,
    /// Rows that the grammar has masked, and the time that took.
    masked: (u32, Duration),
    can_clone: bool,
    pub(super) candidates: Candidates,
    /// Grammar and DRY point into its vocabulary, so it goes last.
    model: Arc<Model>,
}

// SAFETY: samplers hold plain data and a pointer to the vocabulary, which is only read; `&mut self` keeps them to one
// thread at a time.
unsafe impl Send for Chain {}

impl Chain {
    /// Builds the chain for a model.
    pub fn new(model: &Arc<Model>, sampling: &Sampling, bounds: &Bounds<'_>) -> Result<Self, Error> {
        sampling.validate()?;
        let mut chain = Self {
            masks: RawChain::new(),
            named: RawChain::new(),
            stage: None,
            is_stage_first: false,
            grammar: None,
            constrained: None,
            notes: Vec::new(),
            stuck: None,
            masked: (0, Duration::ZERO),
            can_clone: true,
            candidates: Candidates::default(),
            model: model.clone(),
        };
        chain.add_logit_bias(sampling, bounds.never)?;
        chain.add_grammar(sampling, bounds)?;
        chain.add_named(sampling, bounds.n_ctx)?;
        chain.is_stage_first = chain.masks.len() == 0 && chain.stage_at() == Some(0) && sampling.plausibility == 0.0;
        Ok(chain)
    }

    /// Biases of the request, tokens that the model's file suppresses, and those that must not be chosen.
    fn add_logit_bias(&mut self, sampling: &Sampling, never: &[Token]) -> Result<(), Error> {
        let mut biases = Vec::new();
        for &(token, bias) in &sampling.logit_bias {
            self.model.check(token)?;
            biases.push(sys::llama_logit_bias { token, bias });
        }
        let mut n_suppressed = 0;
        // SAFETY: the vocabulary is valid; llama.cpp returns an array of as many tokens as it says.
        let suppressed = unsafe {
            let tokens = sys::llama_vocab_get_suppress_tokens(self.model.vocab(), &raw mut n_suppressed);
            if tokens.is_null() { &[] } else { std::slice::from_raw_parts(tokens, n_suppressed.max(0) as usize) }
        };
        let forbidden = suppressed.iter().chain(never).copied().filter(|&token| self.model.has(token));
        biases.extend(forbidden.map(|token| sys::llama_logit_bias { token, bias: f32::NEG_INFINITY }));
        if !biases.is_empty() {
            // SAFETY: the biases are copied; every token is in the vocabulary.
            self.masks.add(unsafe {
                sys::llama_sampler_init_logit_bias(self.n_vocab(), biases.len() as i32, biases.as_ptr())
            });
        }
        Ok(())
    }

    fn add_grammar(&mut self, sampling: &Sampling, bounds: &Bounds<'_>) -> Result<(), Error> {
        if let Some(grammar) = &sampling.grammar {
            grammar::check(grammar)?;
        }
        let asked = Form::of(sampling);
        if let Some(form) = bounds.form.or(asked.as_ref()) {
            let eog: Vec<_> = bounds.eog.iter().map(|token| token.cast_unsigned()).collect();
            let constraint = self.model.spelled()?.constrain(form, &eog)?;
            self.notes = constraint.notes().to_vec();
            let sampler = Constrained::create(constraint);
            self.grammar = Some(self.masks.len());
            self.masks.add(sampler.as_ptr());
            // SAFETY: the chain owns the sampler from here on, and the handle does not outlive the chain.
            self.constrained = unsafe { Constrained::of(sampler) };
            return Ok(());
        }
        let Some(grammar) = &sampling.grammar else { return Ok(()) };
        let nul = |_| Error::Grammar { reason: "it contains a NUL byte".to_owned() };
        let grammar = CString::new(grammar.as_str()).map_err(nul)?;
        // SAFETY: both strings are NUL-terminated; the vocabulary lives as long as the model, which the chain holds.
        let sampler =
            unsafe { sys::llama_rs_sampler_init_grammar(self.model.vocab(), grammar.as_ptr(), c"root".as_ptr()) };
        if sampler.is_null() {
            let reason = "llama.cpp cannot parse it; it needs a rule `root`, defined names, closed brackets, \
                          and no rule that begins with itself";
            return Err(Error::Grammar { reason: reason.to_owned() });
        }
        self.grammar = Some(self.masks.len());
        self.masks.add(sampler);
        Ok(())
    }

    /// The named samplers in their order, then the one that chooses.
    fn add_named(&mut self, sampling: &Sampling, n_ctx: usize) -> Result<(), Error> {
        let s = sampling;
        let seed = s.seed.unwrap_or(RANDOM_SEED);
        let n_vocab = self.n_vocab();
        let min_keep = s.min_keep as usize;
        // No window can be longer than the context, so a longer one is the same.
        let n_ctx = i32::try_from(n_ctx).unwrap_or(i32::MAX);
        let last_n = |n: i32| if n < 0 { n_ctx } else { n.min(n_ctx) };
        if s.mirostat > 0 {
            // As in llama.cpp, Mirostat takes the place of the truncating samplers.
            self.add_stage(s.plausibility);
            // SAFETY: the values are validated.
            let (temp, mirostat) = unsafe {
                let mirostat = match s.mirostat {
                    1 => sys::llama_sampler_init_mirostat(n_vocab, seed, s.mirostat_tau, s.mirostat_eta, 100),
                    _ => sys::llama_sampler_init_mirostat_v2(seed, s.mirostat_tau, s.mirostat_eta),
                };
                (sys::llama_sampler_init_temp(s.temp), mirostat)
            };
            self.named.add(temp);
            self.named.add(mirostat);
            return Ok(());
        }
        for &sampler in s.samplers.order() {
            // SAFETY: the values are validated, and what points somewhere is copied.
            let raw = unsafe {
                match sampler {
                    Sampler::Proxy => {
                        self.add_stage(s.plausibility);
                        continue;
                    }
                    // Like dist they choose, so they stand last wherever they were named.
                    Sampler::AdaptiveP | Sampler::Gumbel => continue,
                    Sampler::Penalties => sys::llama_sampler_init_penalties(
                        n_vocab,
                        last_n(s.repeat_last_n),
                        s.repeat_penalty,
                        s.frequency_penalty,
                        s.presence_penalty,
                    ),
                    Sampler::Dry => self.dry(s, last_n(s.dry_penalty_last_n))?,
                    Sampler::TopNSigma => sys::llama_sampler_init_top_n_sigma(s.top_n_sigma),
                    Sampler::TopK => sys::llama_sampler_init_top_k(s.top_k),
                    Sampler::TypicalP => sys::llama_sampler_init_typical(s.typical_p, min_keep),
                    Sampler::TopP => sys::llama_sampler_init_top_p(s.top_p, min_keep),
                    Sampler::MinP => sys::llama_sampler_init_min_p(s.min_p, min_keep),
                    Sampler::Xtc => sys::llama_sampler_init_xtc(s.xtc_probability, s.xtc_threshold, min_keep, seed),
                    Sampler::Infill => {
                        self.model.check_infill()?;
                        sys::llama_sampler_init_infill(self.model.vocab())
                    }
                    Sampler::Temperature => {
                        sys::llama_sampler_init_temp_ext(s.temp, s.dynatemp_range, s.dynatemp_exponent)
                    }
                }
            };
            self.named.add(raw);
        }
        // SAFETY: the values are validated.
        let chooser = unsafe {
            if s.samplers.order().contains(&Sampler::AdaptiveP) {
                self.can_clone = false;
                sys::llama_sampler_init_adaptive_p(s.adaptive_target, s.adaptive_decay, seed)
            } else if s.temp <= 0.0 {
                sys::llama_sampler_init_greedy()
            } else if s.samplers.order().contains(&Sampler::Gumbel) {
                gumbel::create(s.seed.unwrap_or_else(sampling::random_seed)).as_ptr()
            } else {
                sys::llama_sampler_init_dist(seed)
            }
        };
        self.named.add(chooser);
        Ok(())
    }

    fn dry(&self, s: &Sampling, last_n: i32) -> Result<*mut sys::llama_sampler, Error> {
        let c_string = |text: &String| {
            let nul = |_| OutOfRange::new("dry-sequence-breaker", format!("{text:?}"), "text without NUL");
            CString::new(text.as_str()).map_err(nul)
        };
        let breakers = s.dry_sequence_breakers.iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<*const c_char> = breakers.iter().map(|text| text.as_ptr()).collect();
        // SAFETY: the breakers are NUL-terminated and outlive the call, which copies them.
        Ok(unsafe {
            sys::llama_sampler_init_dry(
                self.model.vocab(),
                s.dry_multiplier,
                s.dry_base,
                s.dry_allowed_length,
                last_n,
                pointers.as_mut_ptr(),
                pointers.len(),
            )
        })
    }

    fn add_stage(&mut self, plausibility: f32) {
        let sampler = Stage::create(plausibility);
        self.named.add(sampler.as_ptr());
        // SAFETY: the chain owns the sampler from here on, and the stage does not outlive the chain.
        self.stage = unsafe { Stage::of(sampler) };
    }

    pub(super) fn n_vocab(&self) -> i32 {
        self.model.n_vocab() as i32
    }

    /// Place of the stage among the named samplers.
    pub(super) fn stage_at(&self) -> Option<i32> {
        // SAFETY: the samplers are valid while they are looked at.
        let at = self.named.samplers().position(|sampler| unsafe { Stage::of(sampler) }.is_some());
        at.map(|i| i as i32)
    }

    /// What the samplers call themselves, in order; a `?` in front marks one that its parameters switch off.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        // SAFETY: the sampler is valid; names are NUL-terminated and static or owned by it.
        let name = |sampler: NonNull<_>| unsafe { CStr::from_ptr(sys::llama_sampler_name(sampler.as_ptr())) };
        let samplers = self.masks.samplers().chain(self.named.samplers());
        samplers.map(|sampler| name(sampler).to_string_lossy().into_owned()).collect()
    }

    /// Chooses a token for a row of the base's logits `[n_vocab]`; does not accept it. `terms` are this position's
    /// rows of the small models.
    pub fn sample(&mut self, row: &[f32], terms: &[Term<'_>]) -> Result<Token, Error> {
        if let Some(token) = self.stuck {
            return Err(Error::GrammarRefused { token });
        }
        let expected = self.model.n_vocab();
        if row.len() != expected {
            return Err(Error::RowSize { got: row.len(), expected });
        }
        // Where the stage comes first anyway, its sum is made while the candidates are.
        let steered = if self.is_stage_first { self.candidates.fill_steered(row, terms) } else { None };
        if let Some(filled) = steered {
            filled?;
            return self.choose(&[]);
        }
        self.candidates.fill(row)?;
        self.choose(terms)
    }

    /// The same where these ids alone may be chosen.
    pub fn sample_among(&mut self, row: &[f32], ids: &[Token], terms: &[Term<'_>]) -> Result<Token, Error> {
        if let Some(token) = self.stuck {
            return Err(Error::GrammarRefused { token });
        }
        ids.iter().try_for_each(|&id| self.model.check(id))?;
        self.candidates.fill_among(row, ids)?;
        self.choose(terms)
    }

    /// Chooses from the candidates that are filled in.
    pub(super) fn choose(&mut self, terms: &[Term<'_>]) -> Result<Token, Error> {
        if self.masks.len() > 0 {
            let began = Instant::now();
            self.masks.apply(&mut self.candidates.array());
            self.candidates.drop_masked();
            self.check_time(began.elapsed())?;
            if let Some(refused) = self.constrained.and_then(Constrained::failure) {
                return Err(refused.into());
            }
        }
        if self.candidates.is_empty() {
            return Err(if self.grammar_is_complete() { Error::GrammarComplete } else { Error::NothingToChoose });
        }
        let mut array = self.candidates.array();
        let lent = self.stage.map(|stage| stage.lend(terms));
        self.named.apply(&mut array);
        drop(lent);
        if let Some(failure) = self.stage.and_then(Stage::failure) {
            return Err(failure.into());
        }
        let selected =
            usize::try_from(array.selected).ok().filter(|&i| i < array.size).ok_or(Error::NothingToChoose)?;
        // SAFETY: llama.cpp keeps `size` candidates at `data`, which may have moved; the index is in range.
        let chosen = unsafe { *array.data.add(selected) };
        // llama.cpp selects something even where nothing is left, or where numbers overflowed.
        match chosen.logit {
            f32::NEG_INFINITY => Err(Error::NothingToChoose),
            logit if !logit.is_finite() => Err(Error::Overflow { id: chosen.id, value: logit }),
            _ => self.model.check(chosen.id).map(|()| chosen.id),
        }
    }

    /// An ambiguous grammar may take longer with every token, and all texts wait for it.
    fn check_time(&mut self, spent: Duration) -> Result<(), Error> {
        let (n, all) = (self.masked.0 + 1, self.masked.1 + spent);
        self.masked = (n, all);
        if self.grammar.is_some() && all > GRAMMAR_TIME + GRAMMAR_TIME_PER_TOKEN * n {
            return Err(Error::SlowGrammar { seconds: all.as_secs_f32(), n_tokens: n });
        }
        Ok(())
    }

    /// Whether there is a grammar and what was generated satisfies it: then it allows the end of the text.
    fn grammar_is_complete(&self) -> bool {
        if let Some(constrained) = self.constrained {
            return constrained.is_complete();
        }
        let eog = (0..self.n_vocab()).find(|&token| self.model.is_eog(token));
        // Without a token for the end there is nothing that a complete grammar could still allow.
        self.grammar.is_some() && eog.is_none_or(|token| self.grammar_takes(token))
    }

    /// Whether the grammar, if there is one, takes a token next. llama.cpp aborts when it is told one that it does not.
    fn grammar_takes(&self, token: Token) -> bool {
        let Some(grammar) = self.grammar.and_then(|i| self.masks.samplers().nth(i as usize)) else { return true };
        let mut data = [sys::llama_token_data { id: token, logit: 0.0, p: 0.0 }];
        let mut array =
            sys::llama_token_data_array { data: data.as_mut_ptr(), size: data.len(), selected: -1, sorted: false };
        // SAFETY: sampler and array are valid, and the token is in the vocabulary.
        unsafe { sys::llama_sampler_apply(grammar.as_ptr(), &raw mut array) };
        data[0].logit > f32::NEG_INFINITY
    }

    /// Tells every sampler that a token was generated.
    pub fn accept(&mut self, token: Token) -> Result<(), Error> {
        self.model.check(token)?;
        if self.stuck.is_some() || !self.grammar_takes(token) || !self.masks.accept(token) || !self.named.accept(token)
        {
            self.stuck = Some(token);
            let failure = self.constrained.and_then(Constrained::failure);
            return Err(failure.map_or(Error::GrammarRefused { token }, Error::from));
        }
        Ok(())
    }

    /// Whether a grammar or a form says what the answer has to be.
    #[must_use]
    pub fn has_form(&self) -> bool {
        self.grammar.is_some()
    }

    /// Whether a grammar or a form demands more than was generated.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stuck.is_none() && self.grammar.is_some() && !self.grammar_is_complete()
    }

    /// What of the form that was asked for is not kept, in words.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Tokens that spell what has to come next, where the form leaves no choice. Others may spell it too, so they are drafts.
    #[must_use]
    pub fn forced(&self) -> Vec<Token> {
        let Some(constrained) = self.constrained else { return Vec::new() };
        let bytes = constrained.forced_bytes();
        if bytes.is_empty() {
            return Vec::new();
        }
        // As the model has learnt to write it, unless its tokenizer puts something in front.
        self.model.written_as(&bytes).unwrap_or_else(|| constrained.forced())
    }

    /// Tells penalties and their like what the prompt holds; the grammar covers the answer alone.
    pub fn accept_prompt(&mut self, tokens: &[Token]) -> Result<(), Error> {
        tokens.iter().try_for_each(|&token| self.model.check(token))?;
        for &token in tokens {
            self.named.accept(token);
        }
        Ok(())
    }

    /// As if new, random state included where llama.cpp resets it.
    pub fn reset(&mut self) {
        self.masks.reset();
        self.named.reset();
        self.stuck = None;
    }

    /// Whether [`Self::try_clone`] can: llama.cpp's adaptive-p keeps to itself what it has learnt.
    #[must_use]
    pub fn can_clone(&self) -> bool {
        self.can_clone
    }

    /// A chain in the same state that shares nothing mutable with this one.
    pub fn try_clone(&self) -> Result<Self, Error> {
        if !self.can_clone {
            return Err(Error::CannotClone);
        }
        let (masks, named) = (self.masks.duplicate(), self.named.duplicate());
        // SAFETY: the new chain owns its samplers; the handles do not outlive it.
        let (stage, constrained) = unsafe {
            let constrained = masks.samplers().find_map(|sampler| Constrained::of(sampler));
            (named.samplers().find_map(|sampler| Stage::of(sampler)), constrained)
        };
        Ok(Self {
            masks,
            named,
            stage,
            constrained,
            notes: self.notes.clone(),
            is_stage_first: self.is_stage_first,
            grammar: self.grammar,
            stuck: self.stuck,
            masked: self.masked,
            can_clone: true,
            candidates: Candidates::default(),
            model: self.model.clone(),
        })
    }
}
