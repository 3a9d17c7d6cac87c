//! An ordered chain of llama.cpp's samplers with the stage among them: a row of candidates in, a token out.

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::sync::Arc;

use llama_cpp_sys_2 as sys;

use super::candidates::Candidates;
use super::model::Model;
use super::stage::Stage;
use super::{Error, Token, grammar};
use crate::arithmetic::offset::Term;
use crate::recipe::Sampling;
use crate::recipe::sampling::Sampler;

/// llama.cpp's `LLAMA_DEFAULT_SEED`: a new seed each time.
const RANDOM_SEED: u32 = u32::MAX;

/// Owns its samplers. Order: logit bias, grammar, the named samplers with the stage, then the one that chooses.
///
/// The grammar masks before anything truncates, so a truncated array never lacks what the grammar needs.
#[derive(Debug)]
pub struct Chain {
    raw: NonNull<sys::llama_sampler>,
    stage: Option<Stage>,
    /// Place of the grammar, which must not hear the prompt.
    grammar: Option<i32>,
    /// The grammar refused a token; llama.cpp aborts if it is asked again.
    stuck: Option<Token>,
    /// Grammar and DRY point into its vocabulary.
    model: Arc<Model>,
}

// SAFETY: samplers hold plain data and a pointer to the vocabulary, which is only read; `&mut self` keeps them to one
// thread at a time.
unsafe impl Send for Chain {}

impl Chain {
    /// Builds the chain for a model. `n_ctx` bounds how far penalties look back; `eog` are the tokens that
    /// `ignore_eos` forbids.
    pub fn new(model: &Arc<Model>, sampling: &Sampling, n_ctx: usize, eog: &[Token]) -> Result<Self, Error> {
        sampling.validate()?;
        // SAFETY: the parameters are llama.cpp's own.
        let raw = unsafe {
            let mut params = sys::llama_sampler_chain_default_params();
            params.no_perf = true;
            sys::llama_sampler_chain_init(params)
        };
        let raw = allocated(raw);
        let mut chain = Self { raw, stage: None, grammar: None, stuck: None, model: model.clone() };
        chain.add_logit_bias(sampling, eog)?;
        chain.add_grammar(sampling)?;
        chain.add_named(sampling, n_ctx);
        Ok(chain)
    }

    /// Biases of the request, tokens that the model's file suppresses, and EOG tokens that shall not be chosen.
    fn add_logit_bias(&mut self, sampling: &Sampling, eog: &[Token]) -> Result<(), Error> {
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
        let ignored = if sampling.ignore_eos { eog } else { &[] };
        let forbidden = suppressed.iter().chain(ignored).filter(|&&token| self.model.has(token));
        biases.extend(forbidden.map(|&token| sys::llama_logit_bias { token, bias: f32::NEG_INFINITY }));
        if !biases.is_empty() {
            // SAFETY: the biases are copied; every token is in the vocabulary.
            self.add(unsafe {
                sys::llama_sampler_init_logit_bias(self.n_vocab(), biases.len() as i32, biases.as_ptr())
            });
        }
        Ok(())
    }

    fn add_grammar(&mut self, sampling: &Sampling) -> Result<(), Error> {
        let grammar = match (&sampling.grammar, &sampling.json_schema) {
            (Some(grammar), _) => {
                grammar::check(grammar)?;
                grammar.clone()
            }
            (None, Some(schema)) => grammar::from_json_schema(schema)?,
            (None, None) => return Ok(()),
        };
        let nul = |_| Error::Grammar { reason: "it contains a NUL byte".to_owned() };
        let grammar = CString::new(grammar).map_err(nul)?;
        // SAFETY: both strings are NUL-terminated; the vocabulary lives as long as the model, which the chain holds.
        let sampler =
            unsafe { sys::llama_rs_sampler_init_grammar(self.model.vocab(), grammar.as_ptr(), c"root".as_ptr()) };
        if sampler.is_null() {
            let reason = "llama.cpp cannot parse it; it needs a rule `root`, defined names and closed brackets";
            return Err(Error::Grammar { reason: reason.to_owned() });
        }
        self.grammar = Some(self.len());
        self.add(sampler);
        Ok(())
    }

    /// The named samplers in their order, then the one that chooses.
    fn add_named(&mut self, sampling: &Sampling, n_ctx: usize) {
        let s = sampling;
        let seed = s.seed.unwrap_or(RANDOM_SEED);
        let n_vocab = self.n_vocab();
        let min_keep = s.min_keep as usize;
        // No window can be longer than the context, so a longer one is the same.
        let n_ctx = i32::try_from(n_ctx).unwrap_or(i32::MAX);
        let last_n = |n: i32| if n < 0 { n_ctx } else { n.min(n_ctx) };
        if s.mirostat > 0 {
            // As in llama.cpp, Mirostat takes the place of the truncating samplers.
            self.add_stage();
            // SAFETY: the values are validated.
            let (temp, mirostat) = unsafe {
                let mirostat = match s.mirostat {
                    1 => sys::llama_sampler_init_mirostat(n_vocab, seed, s.mirostat_tau, s.mirostat_eta, 100),
                    _ => sys::llama_sampler_init_mirostat_v2(seed, s.mirostat_tau, s.mirostat_eta),
                };
                (sys::llama_sampler_init_temp(s.temp), mirostat)
            };
            self.add(temp);
            self.add(mirostat);
            return;
        }
        for &sampler in s.samplers.order() {
            // SAFETY: the values are validated, and what points somewhere is copied.
            let raw = unsafe {
                match sampler {
                    Sampler::Proxy => {
                        self.add_stage();
                        continue;
                    }
                    // Like dist it chooses, so it stands last wherever it was named.
                    Sampler::AdaptiveP => continue,
                    Sampler::Penalties => sys::llama_sampler_init_penalties(
                        n_vocab,
                        last_n(s.repeat_last_n),
                        s.repeat_penalty,
                        s.frequency_penalty,
                        s.presence_penalty,
                    ),
                    Sampler::Dry => self.dry(s, last_n(s.dry_penalty_last_n)),
                    Sampler::TopNSigma => sys::llama_sampler_init_top_n_sigma(s.top_n_sigma),
                    Sampler::TopK => sys::llama_sampler_init_top_k(s.top_k),
                    Sampler::TypicalP => sys::llama_sampler_init_typical(s.typical_p, min_keep),
                    Sampler::TopP => sys::llama_sampler_init_top_p(s.top_p, min_keep),
                    Sampler::MinP => sys::llama_sampler_init_min_p(s.min_p, min_keep),
                    Sampler::Xtc => sys::llama_sampler_init_xtc(s.xtc_probability, s.xtc_threshold, min_keep, seed),
                    Sampler::Temperature => {
                        sys::llama_sampler_init_temp_ext(s.temp, s.dynatemp_range, s.dynatemp_exponent)
                    }
                }
            };
            self.add(raw);
        }
        // SAFETY: the values are validated.
        let chooser = unsafe {
            if s.samplers.order().contains(&Sampler::AdaptiveP) {
                sys::llama_sampler_init_adaptive_p(s.adaptive_target, s.adaptive_decay, seed)
            } else if s.temp <= 0.0 {
                sys::llama_sampler_init_greedy()
            } else {
                sys::llama_sampler_init_dist(seed)
            }
        };
        self.add(chooser);
    }

    fn dry(&self, s: &Sampling, last_n: i32) -> *mut sys::llama_sampler {
        let breakers: Vec<_> =
            s.dry_sequence_breakers.iter().filter_map(|text| CString::new(text.as_str()).ok()).collect();
        let mut pointers: Vec<*const c_char> = breakers.iter().map(|text| text.as_ptr()).collect();
        // SAFETY: the breakers are NUL-terminated and outlive the call, which copies them.
        unsafe {
            sys::llama_sampler_init_dry(
                self.model.vocab(),
                s.dry_multiplier,
                s.dry_base,
                s.dry_allowed_length,
                last_n,
                pointers.as_mut_ptr(),
                pointers.len(),
            )
        }
    }

    fn add_stage(&mut self) {
        let sampler = Stage::create();
        self.add(sampler.as_ptr());
        // SAFETY: the chain owns the sampler from here on, and the stage does not outlive the chain.
        self.stage = unsafe { Stage::of(sampler) };
    }

    /// Hands a sampler over to the chain.
    fn add(&mut self, sampler: *mut sys::llama_sampler) {
        // SAFETY: llama.cpp's constructors return a sampler nobody owns, or throw; the chain takes it.
        unsafe { sys::llama_sampler_chain_add(self.raw.as_ptr(), sampler) };
    }

    fn n_vocab(&self) -> i32 {
        self.model.n_vocab() as i32
    }

    fn len(&self) -> i32 {
        // SAFETY: the chain is valid.
        unsafe { sys::llama_sampler_chain_n(self.raw.as_ptr()) }
    }

    fn samplers(&self) -> impl Iterator<Item = NonNull<sys::llama_sampler>> {
        // SAFETY: the chain is valid and the index in range.
        (0..self.len()).filter_map(|i| NonNull::new(unsafe { sys::llama_sampler_chain_get(self.raw.as_ptr(), i) }))
    }

    /// What the samplers call themselves, in order; a `?` in front marks one that its parameters switch off.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        // SAFETY: the sampler is valid; names are NUL-terminated and static or owned by it.
        let name = |sampler: NonNull<_>| unsafe { CStr::from_ptr(sys::llama_sampler_name(sampler.as_ptr())) };
        self.samplers().map(|sampler| name(sampler).to_string_lossy().into_owned()).collect()
    }

    /// Chooses a token; does not accept it. `terms` are this position's rows of the small models.
    pub fn sample(&mut self, candidates: &mut Candidates, terms: &[Term<'_>]) -> Result<Token, Error> {
        if let Some(token) = self.stuck {
            return Err(Error::GrammarRefused { token });
        }
        let mut array = candidates.array();
        if array.size == 0 {
            return Err(Error::NothingToChoose);
        }
        let lent = self.stage.map(|stage| stage.lend(terms));
        // SAFETY: chain and array are valid; the array is full and in id order.
        unsafe { sys::llama_sampler_apply(self.raw.as_ptr(), &raw mut array) };
        drop(lent);
        if let Some(failure) = self.stage.and_then(Stage::failure) {
            return Err(failure.into());
        }
        let selected =
            usize::try_from(array.selected).ok().filter(|&i| i < array.size).ok_or(Error::NothingToChoose)?;
        // SAFETY: llama.cpp keeps `size` candidates at `data`, which may have moved; the index is in range.
        let chosen = unsafe { *array.data.add(selected) };
        // With every candidate masked llama.cpp still selects one.
        if chosen.logit.is_nan() || chosen.logit == f32::NEG_INFINITY {
            return Err(Error::NothingToChoose);
        }
        self.model.check(chosen.id)?;
        Ok(chosen.id)
    }

    /// Tells every sampler that a token was generated.
    pub fn accept(&mut self, token: Token) -> Result<(), Error> {
        self.model.check(token)?;
        // SAFETY: chain and token are valid; the wrapper catches what the grammar throws.
        let status = unsafe { sys::llama_rs_sampler_accept(self.raw.as_ptr(), token) };
        if status != sys::LLAMA_RS_STATUS_OK {
            self.stuck = Some(token);
            return Err(Error::GrammarRefused { token });
        }
        Ok(())
    }

    /// Tells penalties and their like what the prompt holds; the grammar covers the answer alone.
    pub fn accept_prompt(&mut self, tokens: &[Token]) -> Result<(), Error> {
        tokens.iter().try_for_each(|&token| self.model.check(token))?;
        for (sampler, i) in self.samplers().zip(0..) {
            if self.grammar != Some(i) {
                // SAFETY: sampler and token are valid; only the grammar throws.
                tokens.iter().for_each(|&token| unsafe { sys::llama_sampler_accept(sampler.as_ptr(), token) });
            }
        }
        Ok(())
    }

    /// As if new, random state included where llama.cpp resets it.
    pub fn reset(&mut self) {
        // SAFETY: the chain is valid.
        unsafe { sys::llama_sampler_reset(self.raw.as_ptr()) };
        self.stuck = None;
    }
}

impl Clone for Chain {
    /// A chain in the same state that shares nothing mutable with this one.
    fn clone(&self) -> Self {
        // SAFETY: the chain is valid, and each of its samplers can be cloned.
        let raw = unsafe { sys::llama_sampler_clone(self.raw.as_ptr()) };
        let raw = allocated(raw);
        let mut chain = Self { raw, stage: None, grammar: self.grammar, stuck: self.stuck, model: self.model.clone() };
        // SAFETY: the new chain owns its samplers; the stage does not outlive it.
        let stage = chain.samplers().find_map(|sampler| unsafe { Stage::of(sampler) });
        chain.stage = stage;
        chain
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // SAFETY: the chain is ours; it frees its samplers.
        unsafe { sys::llama_sampler_free(self.raw.as_ptr()) };
    }
}

/// A sampler that llama.cpp made: its `new` gives memory or ends the process.
fn allocated(raw: *mut sys::llama_sampler) -> NonNull<sys::llama_sampler> {
    match NonNull::new(raw) {
        Some(raw) => raw,
        None => unreachable!("llama.cpp returned no sampler"),
    }
}
