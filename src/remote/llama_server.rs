//! llama-server's `/completion`, which `proxytune serve` has too.
//!
//! Prompts and answers are ids. `n_probs` is bounded by the vocabulary alone, and tells what the model thinks, whatever is
//! sampled. `logit_bias` takes any number of ids and stands first in the server's chain: with the offset in it, the server
//! samples from the steered distribution.

use serde_json::{Value, json};

use super::position::Position;
use super::{Error, Token};
use crate::sampling::{Sampler, Sampling};

pub(super) const PATH: &str = "/completion";

/// Above every logit, and no more than `proxytune serve` takes.
const FORCE: f32 = 1000.0;

/// What a request is to bring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Tokens that the base writes on.
    pub n_tokens: u32,
    pub n_logprobs: u32,
    /// A token that is written whatever the model thinks. The server tells nothing of one that ends within a character.
    pub forced: Option<Token>,
}

/// Log-probabilities behind a prompt, and behind what the base writes on.
pub(super) fn look(prompt: &[Token], wanted: Wanted) -> Value {
    let Wanted { n_tokens, n_logprobs, forced } = wanted;
    let bias: Vec<_> = forced.iter().map(|token| json!([token, FORCE])).collect();
    json!({
        "prompt": prompt, "n_predict": n_tokens, "n_probs": n_logprobs, "cache_prompt": true, "return_tokens": true,
        "stream": false, "samplers": ["top_k"], "top_k": 1, "temperature": 0.0, "ignore_eos": forced.is_none(), "logit_bias": bias,
        // Of a server that steers itself, the base alone.
        "post_sampling_probs": false,
    })
}

/// Nothing but to have read a prompt.
pub(super) fn read_ahead(prompt: &[Token]) -> Value {
    json!({"prompt": prompt, "n_predict": 0, "cache_prompt": true, "stream": false})
}

/// A token of the steered distribution: the offset of every id, `None` for one that must not be chosen.
pub(super) fn draw(
    prompt: &[Token],
    biases: &[(Token, Option<f32>)],
    sampling: &Sampling,
    seed: u32,
    n_logprobs: u32,
) -> Value {
    let bias = |(id, bias): &(Token, Option<f32>)| json!([id, bias.map_or(Value::from(false), Value::from)]);
    let s = sampling;
    let samplers: Vec<_> = if s.temp > 0.0 {
        let own = |sampler: &&Sampler| **sampler != Sampler::Proxy && !STATEFUL.contains(sampler);
        s.samplers.order().iter().filter(own).map(|sampler| sampler.name()).collect()
    } else {
        vec!["top_k"]
    };
    json!({
        "prompt": prompt, "n_predict": 1, "n_probs": n_logprobs, "cache_prompt": true, "return_tokens": true, "stream": false,
        "logit_bias": biases.iter().map(bias).collect::<Vec<_>>(), "seed": seed, "samplers": samplers,
        "temperature": s.temp, "dynatemp_range": s.dynatemp_range, "dynatemp_exponent": s.dynatemp_exponent,
        "top_k": if s.temp > 0.0 { s.top_k } else { 1 }, "top_p": s.top_p, "min_p": s.min_p, "typical_p": s.typical_p,
        "top_n_sigma": s.top_n_sigma, "xtc_probability": s.xtc_probability, "xtc_threshold": s.xtc_threshold,
        "min_keep": s.min_keep, "mirostat": 0, "ignore_eos": false, "post_sampling_probs": false,
    })
}

/// Samplers that remember what was written: every request begins with new ones.
const STATEFUL: [Sampler; 4] = [Sampler::Penalties, Sampler::Dry, Sampler::AdaptiveP, Sampler::Gumbel];

/// What a server that begins anew with each token cannot do, by its name.
#[must_use]
pub fn not_exact(s: &Sampling) -> Option<String> {
    let order = s.samplers.order();
    let has = |sampler: Sampler| order.contains(&sampler);
    let is_penalised = s.repeat_penalty != 1.0 || s.presence_penalty != 0.0 || s.frequency_penalty != 0.0;
    let stateful = "it starts again with every token there";
    let named = |what: &str, why: &str| Some(format!("{what}: {why}"));
    if s.mirostat > 0 {
        return named(&format!("mirostat {}", s.mirostat), stateful);
    }
    if s.grammar.is_some() || s.json_schema.is_some() || s.regex.is_some() {
        return named("a grammar, schema or regular expression", stateful);
    }
    if has(Sampler::Penalties) && is_penalised && s.repeat_last_n != 0 {
        return named("penalties", stateful);
    }
    if has(Sampler::Dry) && s.dry_multiplier > 0.0 {
        return named("dry", stateful);
    }
    if s.plausibility > 0.0 {
        return named("plausibility", "the server adds the offset before any of its samplers");
    }
    for (sampler, why) in
        [(Sampler::AdaptiveP, stateful), (Sampler::Infill, stateful), (Sampler::Gumbel, "it is proxytune's own")]
    {
        if has(sampler) {
            return named(sampler.name(), why);
        }
    }
    let proxy = order.iter().position(|sampler| *sampler == Sampler::Proxy);
    match proxy {
        None => named("a chain without proxy", "the server would be sent no offset"),
        // Those in front are switched off, or were refused.
        Some(at) => {
            order[..at].iter().find(|sampler| ![Sampler::Penalties, Sampler::Dry].contains(sampler)).and_then(|first| {
                named(
                    &format!("{} in front of proxy", first.name()),
                    "the server adds the offset before any of its samplers",
                )
            })
        }
    }
}

/// What an answer holds: the tokens that were written, and a position for each of them that the server tells of.
pub(super) struct Answer {
    pub tokens: Vec<Option<Token>>,
    /// Beside the id that was written there, by which its place is known.
    pub positions: Vec<(Option<Token>, Position)>,
}

/// Reads an answer. `own` makes an id of the small models' of one of the server's.
pub(super) fn read(
    answer: &Value,
    n_vocab: usize,
    own: impl Fn(i64) -> Option<Token>,
    garbage: &dyn Fn(String) -> Error,
) -> Result<Answer, Error> {
    let missing = |what: &str| garbage(format!("no {what}"));
    let tokens = answer["tokens"].as_array().ok_or_else(|| missing("`tokens`"))?;
    let id = |value: &Value| value.as_i64().ok_or_else(|| garbage(format!("the id {value}")));
    let tokens = tokens.iter().map(|token| id(token).map(&own)).collect::<Result<_, _>>()?;
    let mut positions = Vec::new();
    for told in answer["completion_probabilities"].as_array().into_iter().flatten() {
        let top = told["top_logprobs"].as_array().ok_or_else(|| missing("`top_logprobs`"))?;
        let mut entries = Vec::with_capacity(top.len());
        for entry in top {
            let logprob = entry["logprob"]
                .as_f64()
                .ok_or_else(|| garbage(format!("the log-probability {}", entry["logprob"])))?;
            entries.push((own(id(&entry["id"])?), logprob));
        }
        positions.push((own(id(&told["id"])?), Position::of(entries, n_vocab, garbage)?));
    }
    Ok(Answer { tokens, positions })
}
