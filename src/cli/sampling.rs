//! llama.cpp's sampling options: as they are typed, and over the recipe's sampling.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args as ClapArgs;

use super::text::{escaped, read_text};
use crate::constraint::Form;
use crate::llama::{self, grammar};
use crate::parameter::OutOfRange;
use crate::sampling::{Samplers, Sampling, random_seed};

/// llama.cpp's sampling parameters; what is not given is the recipe's, else llama.cpp's default.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Order of the samplers between semicolons; `proxy` stands first unless it is placed. `gumbel` among them draws
    /// by noise that depends on seed, position and token alone
    #[arg(long, value_name = "NAMES")]
    pub samplers: Option<String>,
    /// The same by llama.cpp's letters; `P` is proxy, `g` is gumbel
    #[arg(long, alias = "sampling-seq", value_name = "LETTERS", conflicts_with = "samplers")]
    pub sampler_seq: Option<String>,
    /// Drop tokens below N times the base's top probability, before the offset is added; 0 drops none [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub plausibility: Option<f32>,
    /// Seed of the random numbers; -1 for a new one each time
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<i64>,
    /// Temperature; 0 takes the most likely token [default: 0.8]
    #[arg(long, alias = "temperature", value_name = "N", allow_negative_numbers = true)]
    pub temp: Option<f32>,
    /// Keep the N most likely tokens; 0 keeps all [default: 40]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub top_k: Option<i32>,
    /// Keep the most likely tokens that reach probability N [default: 0.95]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub top_p: Option<f32>,
    /// Keep tokens of at least N times the best one's probability [default: 0.05]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub min_p: Option<f32>,
    /// Keep tokens within N standard deviations of the best logit; -1 is off [default: -1]
    #[arg(long, alias = "top-n-sigma", value_name = "N", allow_negative_numbers = true)]
    pub top_nsigma: Option<f32>,
    /// Locally typical sampling; 1 is off [default: 1]
    #[arg(long, alias = "typical-p", value_name = "N", allow_negative_numbers = true)]
    pub typical: Option<f32>,
    /// Chance to drop the most likely tokens; 0 is off [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub xtc_probability: Option<f32>,
    /// Probability above which XTC drops [default: 0.1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub xtc_threshold: Option<f32>,
    /// Tokens that repetition penalties look back; -1 for the whole context [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub repeat_last_n: Option<i32>,
    /// Divide the logits of repeated tokens; 1 is off [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub repeat_penalty: Option<f32>,
    /// Subtract from the logits of tokens that occurred [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub presence_penalty: Option<f32>,
    /// Subtract for each time a token occurred [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f32>,
    /// Strength of DRY; 0 is off [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub dry_multiplier: Option<f32>,
    /// Base of DRY's growth [default: 1.75]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub dry_base: Option<f32>,
    /// Repetitions of N tokens go unpunished [default: 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub dry_allowed_length: Option<i32>,
    /// Tokens that DRY looks back; -1 for the whole context [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub dry_penalty_last_n: Option<i32>,
    /// A text that DRY does not look across; may be repeated, `none` for nothing [default: newline, : " *]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub dry_sequence_breaker: Vec<String>,
    /// Probability that adaptive-p aims at [default: off]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub adaptive_target: Option<f32>,
    /// How slowly adaptive-p forgets [default: 0.9]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub adaptive_decay: Option<f32>,
    /// Dynamic temperature: temp ± N [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub dynatemp_range: Option<f32>,
    /// Dynamic temperature's exponent [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub dynatemp_exp: Option<f32>,
    /// Mirostat 1 or 2 in place of the truncating samplers; 0 is off [default: 0]
    #[arg(long, value_name = "N")]
    pub mirostat: Option<u8>,
    /// Mirostat's learning rate [default: 0.1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub mirostat_lr: Option<f32>,
    /// Mirostat's target entropy [default: 5]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub mirostat_ent: Option<f32>,
    /// Add to the logit of a token, as in 15043+1 or 15043-inf; may be repeated
    #[arg(short, long, value_name = "ID±BIAS", value_parser = logit_bias, allow_hyphen_values = true)]
    pub logit_bias: Vec<(i32, f32)>,
    /// A GBNF grammar that the answer keeps to
    #[arg(long, value_name = "GRAMMAR")]
    pub grammar: Option<String>,
    /// A file with such a grammar
    #[arg(long, value_name = "FNAME", conflicts_with = "grammar")]
    pub grammar_file: Option<PathBuf>,
    /// A JSON schema that the answer keeps to
    #[arg(short = 'j', long, value_name = "SCHEMA", conflicts_with_all = ["grammar", "grammar_file"])]
    pub json_schema: Option<String>,
    /// -jf: a file with such a schema
    #[arg(long, value_name = "FILE", conflicts_with_all = ["grammar", "grammar_file", "json_schema"])]
    pub json_schema_file: Option<PathBuf>,
    /// Leave out what cannot be kept of the schema, with a note, in place of refusing it
    #[arg(long)]
    pub json_schema_lax: bool,
    /// A regular expression that matches the whole answer
    #[arg(long, value_name = "REGEX", conflicts_with_all = ["grammar", "grammar_file", "json_schema", "json_schema_file"])]
    pub regex: Option<String>,
    /// Ignore end-of-generation tokens and go on
    #[arg(long)]
    pub ignore_eos: bool,
}

impl SamplingArgs {
    /// The recipe's sampling with the flags over it. A random seed is drawn here, so that it can be told.
    pub fn over(&self, recipe: &Sampling, escape: bool) -> Result<Sampling> {
        let mut s = recipe.clone();
        if let Some(names) = &self.samplers {
            s.samplers = names.parse()?;
        }
        if let Some(letters) = &self.sampler_seq {
            s.samplers = Samplers::from_letters(letters)?;
        }
        match self.seed {
            None => {}
            Some(-1) => s.seed = None,
            Some(seed) => {
                let expected = || format!("-1 to {}", u32::MAX - 1);
                let seed = u32::try_from(seed).map_err(|_| OutOfRange::new("seed", seed, expected()))?;
                s.seed = Some(seed);
            }
        }
        s.seed = s.seed.or_else(|| Some(random_seed()));
        let set = |to: &mut f32, from: Option<f32>| *to = from.unwrap_or(*to);
        set(&mut s.plausibility, self.plausibility);
        set(&mut s.temp, self.temp);
        set(&mut s.top_p, self.top_p);
        set(&mut s.min_p, self.min_p);
        set(&mut s.top_n_sigma, self.top_nsigma);
        set(&mut s.typical_p, self.typical);
        set(&mut s.xtc_probability, self.xtc_probability);
        set(&mut s.xtc_threshold, self.xtc_threshold);
        set(&mut s.repeat_penalty, self.repeat_penalty);
        set(&mut s.presence_penalty, self.presence_penalty);
        set(&mut s.frequency_penalty, self.frequency_penalty);
        set(&mut s.dry_multiplier, self.dry_multiplier);
        set(&mut s.dry_base, self.dry_base);
        set(&mut s.adaptive_target, self.adaptive_target);
        set(&mut s.adaptive_decay, self.adaptive_decay);
        set(&mut s.dynatemp_range, self.dynatemp_range);
        set(&mut s.dynatemp_exponent, self.dynatemp_exp);
        set(&mut s.mirostat_eta, self.mirostat_lr);
        set(&mut s.mirostat_tau, self.mirostat_ent);
        let set = |to: &mut i32, from: Option<i32>| *to = from.unwrap_or(*to);
        set(&mut s.top_k, self.top_k);
        set(&mut s.repeat_last_n, self.repeat_last_n);
        set(&mut s.dry_allowed_length, self.dry_allowed_length);
        set(&mut s.dry_penalty_last_n, self.dry_penalty_last_n);
        s.mirostat = self.mirostat.unwrap_or(s.mirostat);
        s.logit_bias.extend_from_slice(&self.logit_bias);
        s.ignore_eos |= self.ignore_eos;
        match self.dry_sequence_breaker.as_slice() {
            [] => {}
            [none] if none == "none" => s.dry_sequence_breakers.clear(),
            texts => s.dry_sequence_breakers = texts.iter().map(|text| escaped(text, escape)).collect(),
        }
        if let Some(grammar) = text_or_file(self.grammar.as_ref(), self.grammar_file.as_deref())? {
            (s.grammar, s.json_schema, s.regex) = (Some(grammar), None, None);
        }
        if let Some(schema) = text_or_file(self.json_schema.as_ref(), self.json_schema_file.as_deref())? {
            (s.grammar, s.json_schema, s.regex) = (None, Some(schema), None);
        }
        if let Some(regex) = &self.regex {
            (s.grammar, s.json_schema, s.regex) = (None, None, Some(regex.clone()));
        }
        s.json_schema_lax |= self.json_schema_lax;
        s.validate()?;
        // Before models are loaded, or a server tells its clients of a mistake that is not theirs.
        s.grammar.as_deref().map_or(Ok(()), grammar::check)?;
        Form::of(&s).as_ref().map_or(Ok(()), Form::check).map_err(llama::Error::from)?;
        Ok(s)
    }
}

fn text_or_file(text: Option<&String>, file: Option<&Path>) -> Result<Option<String>> {
    match (text, file) {
        (Some(text), _) => Ok(Some(text.clone())),
        (None, Some(path)) => read_text(path).map(Some),
        (None, None) => Ok(None),
    }
}

fn logit_bias(text: &str) -> Result<(i32, f32), String> {
    let expected = || "expected a token id and a signed bias, as in 15043+1 or 15043-inf".to_owned();
    let at = text.find(['+', '-']).ok_or_else(expected)?;
    let (id, bias) = text.split_at(at);
    Ok((id.parse().map_err(|_| expected())?, bias.parse().map_err(|_| expected())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_parse_with_their_sign() {
        assert_eq!(logit_bias("15043+1.5"), Ok((15043, 1.5)));
        assert_eq!(logit_bias("7-inf"), Ok((7, f32::NEG_INFINITY)));
        assert_eq!(logit_bias("7-1e-3"), Ok((7, -1e-3)));
        for text in ["", "7", "+1", "x+1", "7+x"] {
            assert!(logit_bias(text).is_err(), "{text}");
        }
    }
}
