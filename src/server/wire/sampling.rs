//! How tokens are chosen: llama.cpp's fields, of which `OpenAI`'s are some.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::parameter::OutOfRange;
use crate::sampling::{Samplers, Sampling};
use crate::server::error::Error;

/// Most biases; each is looked at for every token.
const MAX_BIASES: usize = 1 << 16;
/// Texts among them, which the engine makes tokens of one by one, and their bytes.
const MAX_BIASED_TEXTS: usize = 256;
const MAX_BIASED_BYTES: usize = 256;

/// Sampling parameters; what is left out is as the recipe or the server's flags have it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SamplingFields {
    /// 0 is greedy.
    pub temperature: Option<f32>,
    pub dynatemp_range: Option<f32>,
    pub dynatemp_exponent: Option<f32>,
    /// 0 keeps all.
    pub top_k: Option<i32>,
    pub top_p: Option<f32>,
    pub min_p: Option<f32>,
    pub top_n_sigma: Option<f32>,
    pub typical_p: Option<f32>,
    pub xtc_probability: Option<f32>,
    pub xtc_threshold: Option<f32>,
    pub min_keep: Option<u32>,
    /// Tokens that the penalties look back; -1 for the whole context.
    pub repeat_last_n: Option<i32>,
    pub repeat_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
    pub dry_multiplier: Option<f32>,
    pub dry_base: Option<f32>,
    pub dry_allowed_length: Option<i32>,
    pub dry_penalty_last_n: Option<i32>,
    pub dry_sequence_breakers: Option<Vec<String>>,
    /// 0 off, 1 Mirostat, 2 Mirostat 2.0.
    pub mirostat: Option<u8>,
    pub mirostat_tau: Option<f32>,
    pub mirostat_eta: Option<f32>,
    pub adaptive_target: Option<f32>,
    pub adaptive_decay: Option<f32>,
    /// -1 for a random one. Of a larger number the lower 32 bits count.
    pub seed: Option<i64>,
    /// Names in order, or llama.cpp's letters; `proxy` is the stage.
    #[schema(value_type = Object)]
    pub samplers: Option<Value>,
    /// `{"id": bias}` or `[[id or text, bias]]`; a bias of `false` forbids the token.
    #[schema(value_type = Object)]
    pub logit_bias: Option<Value>,
    /// A GBNF grammar that the answer keeps to.
    pub grammar: Option<String>,
    /// A JSON schema that the answer keeps to.
    #[schema(value_type = Object)]
    pub json_schema: Option<Value>,
    /// Leave out what cannot be kept of the schema, with a note, in place of refusing it.
    pub json_schema_lax: Option<bool>,
    /// A regular expression that matches the whole answer.
    pub regex: Option<String>,
    /// Go on behind end-of-generation tokens.
    pub ignore_eos: Option<bool>,
}

impl SamplingFields {
    /// These fields over `defaults`. `ids` makes tokens of a text in `logit_bias`.
    pub fn over(self, defaults: &Sampling, ids: &dyn Fn(&str) -> Result<Vec<i32>, Error>) -> Result<Sampling, Error> {
        let mut s = defaults.clone();
        macro_rules! set {
            ($($field:ident = $to:ident),*) => { $(if let Some(value) = self.$field { s.$to = value; })* };
        }
        set!(
            temperature = temp,
            dynatemp_range = dynatemp_range,
            dynatemp_exponent = dynatemp_exponent,
            top_k = top_k,
            top_p = top_p,
            min_p = min_p,
            top_n_sigma = top_n_sigma,
            typical_p = typical_p,
            xtc_probability = xtc_probability,
            xtc_threshold = xtc_threshold,
            min_keep = min_keep,
            repeat_last_n = repeat_last_n,
            repeat_penalty = repeat_penalty,
            presence_penalty = presence_penalty,
            frequency_penalty = frequency_penalty,
            dry_multiplier = dry_multiplier,
            dry_base = dry_base,
            dry_allowed_length = dry_allowed_length,
            dry_penalty_last_n = dry_penalty_last_n,
            dry_sequence_breakers = dry_sequence_breakers,
            mirostat = mirostat,
            mirostat_tau = mirostat_tau,
            mirostat_eta = mirostat_eta,
            adaptive_target = adaptive_target,
            adaptive_decay = adaptive_decay,
            ignore_eos = ignore_eos,
            json_schema_lax = json_schema_lax
        );
        match self.seed {
            None => {}
            Some(-1) => s.seed = None,
            // As llama-server has it; the largest one is its -1.
            Some(seed) => s.seed = Some(seed as u32).filter(|seed| *seed != u32::MAX),
        }
        if let Some(samplers) = self.samplers {
            s.samplers = samplers_of(&samplers)?;
        }
        if let Some(biases) = self.logit_bias {
            s.logit_bias = biases_of(&biases, ids)?;
        }
        let grammar = self.grammar.filter(|grammar| !grammar.is_empty());
        if grammar.is_some() || self.json_schema.is_some() || self.regex.is_some() {
            (s.grammar, s.json_schema, s.regex) = (grammar, None, self.regex);
            // As in llama-server, where a grammar is given too.
            if s.grammar.is_none() {
                s.json_schema = self.json_schema.as_ref().map(schema_text);
            }
        }
        s.validate()?;
        Ok(s)
    }
}

/// An empty schema is any object.
fn schema_text(schema: &Value) -> String {
    match schema {
        Value::String(text) => text.clone(),
        Value::Object(fields) if fields.is_empty() => r#"{"type": "object"}"#.to_owned(),
        other => other.to_string(),
    }
}

fn samplers_of(value: &Value) -> Result<Samplers, Error> {
    match value {
        Value::String(letters) => Ok(Samplers::from_letters(letters)?),
        Value::Array(names) => {
            let names = names.iter().map(|name| name.as_str().ok_or_else(|| expected(name)));
            Ok(names.collect::<Result<Vec<_>, _>>()?.join(";").parse()?)
        }
        other => Err(expected(other)),
    }
}

fn expected(got: &Value) -> Error {
    Error::field("samplers", format!("{got}, expected names such as [\"top_k\", \"temperature\"], or letters"))
}

fn biases_of(value: &Value, ids: &dyn Fn(&str) -> Result<Vec<i32>, Error>) -> Result<Vec<(i32, f32)>, Error> {
    let refuse = |got: &Value| {
        let wanted = "expected {\"id\": bias} or [[id, bias], …] with numbers, or `false` to forbid a token";
        Error::field("logit_bias", format!("{got}, {wanted}"))
    };
    let bias = |of: &Value| match of {
        Value::Number(number) => number.as_f64().map(|bias| bias as f32).ok_or_else(|| refuse(of)),
        Value::Bool(false) => Ok(f32::NEG_INFINITY),
        _ => Err(refuse(of)),
    };
    let (mut biases, mut n_texts) = (Vec::new(), 0);
    let n = value.as_object().map_or_else(|| value.as_array().map_or(0, Vec::len), serde_json::Map::len);
    if n > MAX_BIASES {
        return Err(Error::field("logit_bias", format!("{n} biases, expected at most {MAX_BIASES}")));
    }
    let mut add = |token: &Value, of: &Value| {
        let bias = bias(of)?;
        let tokens = match token {
            Value::Number(id) => vec![id.as_i64().and_then(|id| id.try_into().ok()).ok_or_else(|| refuse(token))?],
            Value::String(text) => match text.parse() {
                Ok(id) => vec![id],
                Err(_) if text.len() > MAX_BIASED_BYTES => {
                    let expected = format!("a text of {} bytes, expected at most {MAX_BIASED_BYTES}", text.len());
                    return Err(Error::field("logit_bias", expected));
                }
                Err(_) if n_texts == MAX_BIASED_TEXTS => {
                    let expected = format!("expected at most {MAX_BIASED_TEXTS} texts beside token ids");
                    return Err(Error::field("logit_bias", expected));
                }
                Err(_) => {
                    n_texts += 1;
                    ids(text)?
                }
            },
            _ => return Err(refuse(token)),
        };
        biases.extend(tokens.into_iter().map(|id| (id, bias)));
        Ok(())
    };
    match value {
        Value::Object(map) => map.iter().try_for_each(|(id, bias)| add(&Value::String(id.clone()), bias))?,
        Value::Array(list) => {
            for entry in list {
                match entry.as_array().map(Vec::as_slice) {
                    Some([token, bias]) => add(token, bias)?,
                    _ => return Err(refuse(entry)),
                }
            }
        }
        other => return Err(refuse(other)),
    }
    Ok(biases)
}

/// A number that is refused in the words of [`OutOfRange`].
pub fn out_of_range(name: &'static str, value: impl std::fmt::Display, expected: &str) -> Error {
    OutOfRange::new(name, value, expected).into()
}
