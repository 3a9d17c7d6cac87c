//! Which samplers a chain has, and in which order: llama.cpp's names and letters for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::parameter::OutOfRange;

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

/// A sampler may stand in a chain more than once; more than this is a mistake.
const MAX_SAMPLERS: usize = 64;

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
    /// For filling in: makes one token of those that begin alike, and ends where no token is probable.
    Infill,
    /// Chooses in the place of `dist`: the highest logit with Gumbel noise that depends on seed, position and token alone.
    Gumbel,
}

/// Name, letter in `--sampler-seq`, further spellings that llama.cpp takes.
const NAMES: [(Sampler, &str, char, &[&str]); 13] = [
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
    (Sampler::Infill, "infill", 'i', &[]),
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
    pub(super) fn is_behind_temperature(&self) -> bool {
        self.has_before(Sampler::Temperature, Sampler::Proxy)
    }

    /// Whether a sampler stands somewhere in front of the first of another kind.
    pub(super) fn has_before(&self, sampler: Sampler, other: Sampler) -> bool {
        self.0.iter().take_while(|named| **named != other).any(|named| *named == sampler)
    }

    /// From llama.cpp's letters (`--sampler-seq edskypmxt`); `P` is `proxy`.
    pub fn from_letters(letters: &str) -> Result<Self, OutOfRange> {
        let find = |letter: char| {
            Sampler::from_letter(letter).ok_or_else(|| {
                let letters: String = NAMES.iter().map(|(_, _, letter, _)| *letter).collect();
                OutOfRange::new("sampler-seq", letter, format!("letters of {letters:?}"))
            })
        };
        Self::from_order(letters.chars().map(find).collect::<Result<_, _>>()?)
    }

    fn from_order(mut order: Vec<Sampler>) -> Result<Self, OutOfRange> {
        if order.len() > MAX_SAMPLERS {
            return Err(OutOfRange::new(
                "samplers",
                format!("{} names", order.len()),
                format!("at most {MAX_SAMPLERS}"),
            ));
        }
        match order.iter().filter(|sampler| **sampler == Sampler::Proxy).count() {
            0 => order.insert(0, Sampler::Proxy),
            1 => {}
            n => return Err(OutOfRange::new("samplers", format!("`proxy` {n} times"), "it once")),
        }
        Ok(Self(order))
    }
}

impl FromStr for Samplers {
    type Err = OutOfRange;

    /// From llama.cpp's names between semicolons (`--samplers "top_p;proxy;temperature"`).
    fn from_str(names: &str) -> Result<Self, OutOfRange> {
        let find = |name: &str| {
            Sampler::from_name(name).ok_or_else(|| {
                let known: Vec<_> = NAMES.iter().map(|(_, name, ..)| *name).collect();
                OutOfRange::new("samplers", format!("{name:?}"), format!("names of {}", known.join(";")))
            })
        };
        Self::from_order(names.split(';').filter(|name| !name.trim().is_empty()).map(find).collect::<Result<_, _>>()?)
    }
}

impl TryFrom<String> for Samplers {
    type Error = OutOfRange;
    fn try_from(names: String) -> Result<Self, OutOfRange> {
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
        assert!(Samplers::from_letters(&"k".repeat(MAX_SAMPLERS)).is_ok());
        for letters in ["k".repeat(MAX_SAMPLERS + 1), "k".repeat(1_000_000)] {
            let error = Samplers::from_letters(&letters).expect_err("too many").to_string();
            assert!(error.contains("at most 64"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_order_reads_back(letters in "[edskypmxtaigP]{0,12}") {
            if let Ok(samplers) = Samplers::from_letters(&letters) {
                let again: Samplers = samplers.to_string().parse().expect("its own names");
                prop_assert_eq!(&again, &samplers);
                prop_assert!(samplers.order().contains(&Sampler::Proxy));
            }
        }
    }
}
