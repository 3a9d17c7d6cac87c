//! The parameters, their defaults and their limits.
//!
//! llama.cpp aborts on some values and picks a wrong token silently on others (NaN, a denormal temperature, an
//! infinite bias beside a mask); [`Sampling::validate`] refuses those. Bounds that multiply (bias, penalties, 1 / temp)
//! are such that no logit comes near 3e8, where llama.cpp's bucket sort overflows.

use serde::{Deserialize, Serialize};

use super::{Sampler, Samplers, biases};
use crate::parameter::OutOfRange;

/// DRY looks for each of its breakers in every token of the vocabulary before the first token is chosen.
const MAX_BREAKERS: usize = 64;
/// llama.cpp cuts longer ones (`MAX_CHAR_LEN` of its DRY sampler).
const MAX_BREAKER_BYTES: usize = 40;

/// `infill` compares each of its candidates with each other one, and takes some milliseconds for so many.
const MAX_INFILL: i32 = 256;

/// Every parameter of the chain. The defaults are llama.cpp's (`common_params_sampling`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Seed of all random draws; `None` takes a new one each time.
    pub seed: Option<u32>,
    pub samplers: Samplers,
    /// Where `proxy` stands, only tokens of at least this share of the best one's probability are kept, before the
    /// offset is added; 0 keeps all. The plausibility cut of contrastive decoding.
    pub plausibility: f32,
    pub temp: f32,
    pub dynatemp_range: f32,
    pub dynatemp_exponent: f32,
    pub top_k: i32,
    pub top_p: f32,
    pub min_p: f32,
    pub top_n_sigma: f32,
    pub typical_p: f32,
    pub xtc_probability: f32,
    pub xtc_threshold: f32,
    pub min_keep: u32,
    /// Tokens that the penalties look back; −1 for the whole context.
    pub repeat_last_n: i32,
    pub repeat_penalty: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    pub dry_multiplier: f32,
    pub dry_base: f32,
    pub dry_allowed_length: i32,
    /// Tokens that DRY looks back; −1 for the whole context.
    pub dry_penalty_last_n: i32,
    pub dry_sequence_breakers: Vec<String>,
    /// 0 off, 1 Mirostat, 2 Mirostat 2.0.
    pub mirostat: u8,
    pub mirostat_tau: f32,
    pub mirostat_eta: f32,
    pub adaptive_target: f32,
    pub adaptive_decay: f32,
    /// Added to the logit of a token id. −∞ forbids the token; in JSON that is `false`, as in llama.cpp's server.
    #[serde(with = "biases")]
    pub logit_bias: Vec<(i32, f32)>,
    /// A GBNF grammar that the answer keeps to.
    pub grammar: Option<String>,
    /// A JSON schema that the answer keeps to.
    pub json_schema: Option<String>,
    /// What of the schema cannot be kept is left out, and told in a note.
    pub json_schema_lax: bool,
    /// A regular expression that matches the whole answer.
    pub regex: Option<String>,
    /// Never end by the model's own choice.
    pub ignore_eos: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            seed: None,
            samplers: Samplers::default(),
            plausibility: 0.0,
            temp: 0.8,
            dynatemp_range: 0.0,
            dynatemp_exponent: 1.0,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            top_n_sigma: -1.0,
            typical_p: 1.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            min_keep: 0,
            repeat_last_n: 64,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_penalty_last_n: 64,
            dry_sequence_breakers: ["\n", ":", "\"", "*"].map(str::to_owned).to_vec(),
            mirostat: 0,
            mirostat_tau: 5.0,
            mirostat_eta: 0.1,
            adaptive_target: -1.0,
            adaptive_decay: 0.9,
            logit_bias: Vec::new(),
            grammar: None,
            json_schema: None,
            json_schema_lax: false,
            regex: None,
            ignore_eos: false,
        }
    }
}

impl Sampling {
    /// The most likely token at every position.
    #[must_use]
    pub fn greedy() -> Self {
        Self { temp: 0.0, ..Self::default() }
    }

    /// Refuses values that llama.cpp would not survive or would silently misread.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        let within = |name: &'static str, value: f32, low: f32, high: f32| {
            if value >= low && value <= high {
                Ok(())
            } else {
                Err(OutOfRange::new(name, value, format!("a number from {low} to {high}")))
            }
        };
        within("plausibility", self.plausibility, 0.0, 1.0)?;
        if self.plausibility > 0.0 && self.samplers.is_behind_temperature() {
            let expected = "0, as `temperature` stands before `proxy`: the base's probabilities are gone there";
            return Err(OutOfRange::new("plausibility", self.plausibility, expected));
        }
        within("temp", self.temp, 0.0, 1e4)?;
        if self.temp > 0.0 && self.temp < 1e-3 {
            return Err(OutOfRange::new("temp", self.temp, "0 for greedy, or 0.001 and more"));
        }
        within("dynatemp-range", self.dynatemp_range, 0.0, 1e4)?;
        within("dynatemp-exp", self.dynatemp_exponent, 0.0, 10.0)?;
        within("top-p", self.top_p, 0.0, 1.0)?;
        within("min-p", self.min_p, 0.0, 1.0)?;
        within("typical", self.typical_p, 0.0, 1.0)?;
        within("top-nsigma", self.top_n_sigma, -1e4, 1e4)?;
        within("xtc-probability", self.xtc_probability, 0.0, 1.0)?;
        within("xtc-threshold", self.xtc_threshold, 0.0, 1.0)?;
        within("repeat-penalty", self.repeat_penalty, 0.01, 1e2)?;
        within("presence-penalty", self.presence_penalty, -1e2, 1e2)?;
        within("frequency-penalty", self.frequency_penalty, -2.0, 1e2)?;
        within("dry-multiplier", self.dry_multiplier, 0.0, 1e4)?;
        within("dry-base", self.dry_base, 0.0, 1e4)?;
        within("mirostat-ent", self.mirostat_tau, 0.0, 1e4)?;
        within("mirostat-lr", self.mirostat_eta, 0.0, 1e2)?;
        within("adaptive-target", self.adaptive_target, -1.0, 1.0)?;
        within("adaptive-decay", self.adaptive_decay, 0.0, 0.99)?;
        if self.seed == Some(u32::MAX) {
            return Err(OutOfRange::new("seed", u32::MAX, format!("0 to {}", u32::MAX - 1)));
        }
        let at_least = |name: &'static str, value: i32, low: i32| {
            if value >= low { Ok(()) } else { Err(OutOfRange::new(name, value, format!("{low} or more"))) }
        };
        at_least("repeat-last-n", self.repeat_last_n, -1)?;
        at_least("dry-allowed-length", self.dry_allowed_length, 0)?;
        at_least("dry-penalty-last-n", self.dry_penalty_last_n, -1)?;
        if self.mirostat > 2 {
            return Err(OutOfRange::new("mirostat", self.mirostat, "0, 1 or 2"));
        }
        for (id, bias) in &self.logit_bias {
            let banned = *bias == f32::NEG_INFINITY;
            if *id < 0 || !(banned || bias.abs() <= 1e3) {
                let expected = "a token id and a bias from -1000 to 1000, or -inf";
                return Err(OutOfRange::new("logit-bias", format!("{id}{bias:+}"), expected));
            }
        }
        check_list("dry-sequence-breaker", &self.dry_sequence_breakers, MAX_BREAKERS, MAX_BREAKER_BYTES)?;
        let names = |sampler| self.samplers.order().contains(&sampler);
        if names(Sampler::Gumbel) && (self.mirostat > 0 || names(Sampler::AdaptiveP)) {
            let other = if self.mirostat > 0 { "Mirostat" } else { "`adaptive_p`" };
            return Err(OutOfRange::new("samplers", format!("`gumbel` beside {other}"), "one that chooses"));
        }
        if names(Sampler::Infill) {
            let is_cut = self.samplers.has_before(Sampler::TopK, Sampler::Infill);
            if !is_cut || !(1..=MAX_INFILL).contains(&self.top_k) {
                let got = format!("`infill` with a top-k of {}", if is_cut { self.top_k } else { 0 });
                return Err(OutOfRange::new("samplers", got, format!("`top_k` in front of it, of 1 to {MAX_INFILL}")));
            }
            // It ends a text whatever a grammar says.
            if self.grammar.is_some() || self.json_schema.is_some() || self.regex.is_some() {
                return Err(OutOfRange::new("samplers", "`infill` beside a grammar", "one of the two"));
            }
        }
        let forms = [("grammar", &self.grammar), ("json-schema", &self.json_schema), ("regex", &self.regex)];
        let given: Vec<_> = forms.into_iter().filter(|(_, form)| form.is_some()).map(|(name, _)| name).collect();
        if let [first, second, ..] = given[..] {
            return Err(OutOfRange::new(first, format!("given beside `{second}`"), "one of the two"));
        }
        Ok(())
    }
}

/// Refuses more texts than `most`, or longer ones than `most_bytes`.
pub fn check_list(name: &'static str, texts: &[String], most: usize, most_bytes: usize) -> Result<(), OutOfRange> {
    if texts.len() > most {
        return Err(OutOfRange::new(name, format!("{} texts", texts.len()), format!("at most {most}")));
    }
    match texts.iter().find(|text| text.len() > most_bytes) {
        Some(text) => {
            let start: String = text.chars().take(20).collect();
            let got = format!("a text of {} bytes, {start:?}…", text.len());
            Err(OutOfRange::new(name, got, format!("at most {most_bytes} bytes")))
        }
        None => Ok(()),
    }
}

/// A seed that differs from run to run.
#[must_use]
pub fn random_seed() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (random >> 33) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert!(Sampling::default().validate().is_ok());
        assert!(Sampling::greedy().validate().is_ok());
    }

    #[test]
    fn values_that_break_llama_cpp_are_refused() {
        type Spoil = fn(&mut Sampling);
        let cases: [(&str, Spoil); 23] = [
            ("plausibility", |s| s.plausibility = 1.5),
            ("plausibility", |s| {
                s.plausibility = 0.1;
                s.samplers = "temperature;proxy".parse().expect("names");
            }),
            ("temp", |s| s.temp = f32::NAN),
            ("temp", |s| s.temp = f32::INFINITY),
            ("temp", |s| s.temp = -1.0),
            ("temp", |s| s.temp = 1e-45),
            ("repeat-penalty", |s| s.repeat_penalty = 0.0),
            ("repeat-last-n", |s| s.repeat_last_n = -2),
            ("top-p", |s| s.top_p = 1.5),
            ("min-p", |s| s.min_p = f32::NAN),
            ("presence-penalty", |s| s.presence_penalty = f32::NEG_INFINITY),
            ("mirostat", |s| s.mirostat = 3),
            ("logit-bias", |s| s.logit_bias = vec![(3, f32::NAN)]),
            ("logit-bias", |s| s.logit_bias = vec![(-1, 1.0)]),
            ("logit-bias", |s| s.logit_bias = vec![(3, 4e8)]),
            ("dry-sequence-breaker", |s| s.dry_sequence_breakers = vec!["a".to_owned(); MAX_BREAKERS + 1]),
            ("dry-sequence-breaker", |s| s.dry_sequence_breakers = vec!["a".repeat(MAX_BREAKER_BYTES + 1)]),
            ("adaptive-decay", |s| s.adaptive_decay = 1.0),
            ("samplers", |s| s.samplers = "gumbel;adaptive_p".parse().expect("names")),
            ("samplers", |s| s.samplers = "infill;top_k".parse().expect("names")),
            ("samplers", |s| {
                s.samplers = "top_k;infill".parse().expect("names");
                s.top_k = 0;
            }),
            ("samplers", |s| {
                s.samplers = "top_k;infill".parse().expect("names");
                s.grammar = Some("root ::= \"a\"".to_owned());
            }),
            ("samplers", |s| {
                s.samplers = "top_k;gumbel".parse().expect("names");
                s.mirostat = 2;
            }),
        ];
        for (name, spoil) in cases {
            let mut sampling = Sampling::default();
            spoil(&mut sampling);
            let error = sampling.validate().expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
