//! How the next token is chosen: llama.cpp's sampling parameters under llama.cpp's names and with its defaults.
//!
//! llama.cpp aborts on some values and picks a wrong token silently on others (NaN, a denormal temperature, an
//! infinite bias beside a mask); [`Sampling::validate`] refuses those. Bounds that multiply (bias, penalties, 1 / temp)
//! are such that no logit comes near 3e8, where llama.cpp's bucket sort overflows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Error;

/// The samplers that a chain may name, in llama.cpp's default order behind `proxy`.
pub const DEFAULT_ORDER: [Sampler; 10] = [
    Sampler::Proxy,
    Sampler::Penalties,
    Sampler::Dry,
    Sampler::TopNSigma,
    Sampler::TopK,
    Sampler::TypicalP,
    Sampler::TopP,
    Sampler::MinP,
    Sampler::Xtc,
    Sampler::Temperature,
];

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
    /// Added to the logit of a token id.
    pub logit_bias: Vec<(i32, f32)>,
    /// A GBNF grammar that the answer keeps to.
    pub grammar: Option<String>,
    /// A JSON schema that the answer keeps to.
    pub json_schema: Option<String>,
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
    pub fn validate(&self) -> Result<(), Error> {
        let within = |name: &'static str, value: f32, low: f32, high: f32| {
            if value >= low && value <= high {
                Ok(())
            } else {
                Err(Error::parameter(name, value, format!("a number from {low} to {high}")))
            }
        };
        within("plausibility", self.plausibility, 0.0, 1.0)?;
        if self.plausibility > 0.0 && self.samplers.is_behind_temperature() {
            let expected = "0, as `temperature` stands before `proxy`: the base's probabilities are gone there";
            return Err(Error::parameter("plausibility", self.plausibility, expected));
        }
        within("temp", self.temp, 0.0, 1e4)?;
        if self.temp > 0.0 && self.temp < 1e-3 {
            return Err(Error::parameter("temp", self.temp, "0 for greedy, or 0.001 and more"));
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
            return Err(Error::parameter("seed", u32::MAX, format!("0 to {}", u32::MAX - 1)));
        }
        let at_least = |name: &'static str, value: i32, low: i32| {
            if value >= low { Ok(()) } else { Err(Error::parameter(name, value, format!("{low} or more"))) }
        };
        at_least("repeat-last-n", self.repeat_last_n, -1)?;
        at_least("dry-allowed-length", self.dry_allowed_length, 0)?;
        at_least("dry-penalty-last-n", self.dry_penalty_last_n, -1)?;
        if self.mirostat > 2 {
            return Err(Error::parameter("mirostat", self.mirostat, "0, 1 or 2"));
        }
        for (id, bias) in &self.logit_bias {
            let banned = *bias == f32::NEG_INFINITY;
            if *id < 0 || !(banned || bias.abs() <= 1e3) {
                let expected = "a token id and a bias from -1000 to 1000, or -inf";
                return Err(Error::parameter("logit-bias", format!("{id}{bias:+}"), expected));
            }
        }
        let names = |sampler| self.samplers.order().contains(&sampler);
        if names(Sampler::Gumbel) && (self.mirostat > 0 || names(Sampler::AdaptiveP)) {
            let other = if self.mirostat > 0 { "Mirostat" } else { "`adaptive_p`" };
            return Err(Error::parameter("samplers", format!("`gumbel` beside {other}"), "one that chooses"));
        }
        if self.grammar.is_some() && self.json_schema.is_some() {
            return Err(Error::parameter("grammar", "given beside a JSON schema", "one of the two"));
        }
        Ok(())
    }
}

/// A seed that differs from run to run.
#[must_use]
pub fn random_seed() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (random >> 33) as u32
}

/// A sampler by its llama.cpp name, or one of ours: the proxy-tuning stage and `gumbel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sampler {
    Proxy,
    Penalties,
    Dry,
    TopNSigma,
    TopK,
    TypicalP,
    TopP,
    MinP,
    Xtc,
    Temperature,
    AdaptiveP,
    /// Chooses in the place of `dist`: the highest logit with Gumbel noise that depends on seed, position and token alone.
    Gumbel,
}

/// Name, letter in `--sampler-seq`, further spellings that llama.cpp takes.
const NAMES: [(Sampler, &str, char, &[&str]); 12] = [
    (Sampler::Proxy, "proxy", 'P', &["proxy-tuning"]),
    (Sampler::Penalties, "penalties", 'e', &[]),
    (Sampler::Dry, "dry", 'd', &[]),
    (Sampler::TopNSigma, "top_n_sigma", 's', &["top-n-sigma", "topnsigma"]),
    (Sampler::TopK, "top_k", 'k', &["top-k", "topk"]),
    (Sampler::TypicalP, "typ_p", 'y', &["typ-p", "typp", "typ"]),
    (Sampler::TopP, "top_p", 'p', &["top-p", "topp", "nucleus"]),
    (Sampler::MinP, "min_p", 'm', &["min-p", "minp"]),
    (Sampler::Xtc, "xtc", 'x', &[]),
    (Sampler::Temperature, "temperature", 't', &["temp"]),
    (Sampler::AdaptiveP, "adaptive_p", 'a', &["adaptive-p", "adaptivep"]),
    (Sampler::Gumbel, "gumbel", 'g', &[]),
];

impl Sampler {
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(sampler, ..)| *sampler == self).map_or("", |(_, name, ..)| name)
    }

    fn from_name(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase();
        let matches = |(_, canonical, _, aliases): &&(_, &str, _, &[&str])| {
            *canonical == name || aliases.contains(&name.as_str())
        };
        NAMES.iter().find(matches).map(|(sampler, ..)| *sampler)
    }

    fn from_letter(letter: char) -> Option<Self> {
        NAMES.iter().find(|(_, _, l, _)| *l == letter).map(|(sampler, ..)| *sampler)
    }
}

/// The order of a chain's named samplers. `proxy` is always among them: first, unless it is put elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Samplers(Vec<Sampler>);

impl Default for Samplers {
    fn default() -> Self {
        Self(DEFAULT_ORDER.to_vec())
    }
}

impl Samplers {
    #[must_use]
    pub fn order(&self) -> &[Sampler] {
        &self.0
    }

    /// Whether the stage sees logits that a temperature has changed.
    fn is_behind_temperature(&self) -> bool {
        let until_stage = self.0.iter().take_while(|sampler| **sampler != Sampler::Proxy);
        until_stage.into_iter().any(|sampler| *sampler == Sampler::Temperature)
    }

    /// From llama.cpp's letters (`--sampler-seq edskypmxt`); `P` is `proxy`.
    pub fn from_letters(letters: &str) -> Result<Self, Error> {
        let find = |letter: char| {
            Sampler::from_letter(letter).ok_or_else(|| {
                let letters: String = NAMES.iter().map(|(_, _, letter, _)| *letter).collect();
                Error::parameter("sampler-seq", letter, format!("letters of {letters:?}"))
            })
        };
        Self::from_order(letters.chars().map(find).collect::<Result<_, _>>()?)
    }

    fn from_order(mut order: Vec<Sampler>) -> Result<Self, Error> {
        match order.iter().filter(|sampler| **sampler == Sampler::Proxy).count() {
            0 => order.insert(0, Sampler::Proxy),
            1 => {}
            n => return Err(Error::parameter("samplers", format!("`proxy` {n} times"), "it once")),
        }
        Ok(Self(order))
    }
}

impl FromStr for Samplers {
    type Err = Error;

    /// From llama.cpp's names between semicolons (`--samplers "top_p;proxy;temperature"`).
    fn from_str(names: &str) -> Result<Self, Error> {
        let find = |name: &str| {
            Sampler::from_name(name).ok_or_else(|| {
                let known: Vec<_> = NAMES.iter().map(|(_, name, ..)| *name).collect();
                Error::parameter("samplers", format!("{name:?}"), format!("names of {}", known.join(";")))
            })
        };
        Self::from_order(names.split(';').filter(|name| !name.trim().is_empty()).map(find).collect::<Result<_, _>>()?)
    }
}

impl TryFrom<String> for Samplers {
    type Error = Error;
    fn try_from(names: String) -> Result<Self, Error> {
        names.parse()
    }
}

impl From<Samplers> for String {
    fn from(samplers: Samplers) -> Self {
        samplers.to_string()
    }
}

impl fmt::Display for Samplers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|sampler| sampler.name()).collect();
        f.write_str(&names.join(";"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn llama_cpp_strings_keep_their_order_and_get_the_stage_in_front() {
        for (names, expected) in [
            ("", "proxy"),
            ("top_k;temperature", "proxy;top_k;temperature"),
            ("top_p;proxy;temperature", "top_p;proxy;temperature"),
            ("Top-K; nucleus ;temp", "proxy;top_k;top_p;temperature"),
            ("penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature", &Samplers::default().to_string()),
        ] {
            assert_eq!(names.parse::<Samplers>().expect(names).to_string(), expected);
        }
        assert_eq!(Samplers::from_letters("edskypmxt").expect("llama.cpp's default"), Samplers::default());
        assert_eq!(Samplers::from_letters("pPt").expect("letters").to_string(), "top_p;proxy;temperature");
    }

    #[test]
    fn unknown_and_double_names_are_refused() {
        assert!("top_k;nonsense".parse::<Samplers>().is_err());
        assert!("proxy;proxy".parse::<Samplers>().is_err());
        assert!(Samplers::from_letters("k?").is_err());
    }

    #[test]
    fn the_defaults_are_valid() {
        assert!(Sampling::default().validate().is_ok());
        assert!(Sampling::greedy().validate().is_ok());
    }

    #[test]
    fn values_that_break_llama_cpp_are_refused() {
        type Spoil = fn(&mut Sampling);
        let cases: [(&str, Spoil); 18] = [
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
            ("adaptive-decay", |s| s.adaptive_decay = 1.0),
            ("samplers", |s| s.samplers = "gumbel;adaptive_p".parse().expect("names")),
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

    proptest! {
        #[test]
        fn any_order_reads_back(letters in "[edskypmxtagP]{0,12}") {
            if let Ok(samplers) = Samplers::from_letters(&letters) {
                let again: Samplers = samplers.to_string().parse().expect("its own names");
                prop_assert_eq!(&again, &samplers);
                prop_assert!(samplers.order().contains(&Sampler::Proxy));
            }
        }
    }
}
