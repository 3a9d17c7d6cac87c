//! How far a request is steered: `proxy`, and classifier-free guidance under the names that clients know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::generate::Request;
use crate::generate::event::Steered;
use crate::llama::Token;
use crate::recipe::schedule::{MAX_ALPHA, check_alpha};
use crate::recipe::{Schedule, View};
use crate::server::body::read;
use crate::server::catalog::Model;
use crate::server::error::{Error, ErrorKind};
use crate::steer::{Plan, Role, Sampled, WeightsRequest};

/// Steering of one request; what is left out is as the recipe has it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SteeringFields {
    pub proxy: Option<Proxy>,
    /// Classifier-free guidance: 1 is none, more leads away from what `negative_prompt` makes likely.
    pub guidance_scale: Option<f32>,
    /// What the base sees in place of the prompt on the side that guidance leads away from; empty for nothing at all.
    pub negative_prompt: Option<String>,
}

/// Proxy-tuning: base + Σ α · (expert − antiexpert).
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// α of every pair: a number, or a list with one for each.
    #[schema(value_type = Option<Object>)]
    pub alpha: Option<Value>,
    /// α along the answer, as in `1@0..0.5@64`: a text, or a list with one for each pair.
    #[schema(value_type = Option<Object>)]
    pub schedule: Option<Value>,
    /// α of single pairs by their names; the others stay as they are.
    #[schema(value_type = Option<Object>)]
    pub pairs: Option<Map<String, Value>>,
    /// Keep only tokens at least so many times as probable as the base's top token; 0 keeps all.
    pub plausibility: Option<f32>,
    /// The base alone.
    pub off: bool,
    /// Tokens that the answer begins with, by the ids of the model that is sampled from: it goes on behind them, and tells
    /// only what is new. Positions of `schedule` count them.
    pub begin: Option<Vec<Token>>,
    /// Tell each token's log-probability under every role: true, or how many candidates to tell beside each.
    #[schema(value_type = Option<Object>)]
    pub explain: Option<Value>,
}

/// Most candidates beside each token that is explained.
pub const MAX_EXPLAINED: usize = 256;

/// How tokens are explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explained {
    /// Candidates beside each token, where a number is asked for.
    pub n_top: Option<usize>,
}

impl SteeringFields {
    /// How each token is to be explained, if it is.
    pub fn explains(&self) -> Result<Option<Explained>, Error> {
        match self.proxy.as_ref().and_then(|proxy| proxy.explain.as_ref()) {
            None | Some(Value::Bool(false)) => Ok(None),
            Some(Value::Bool(true)) => Ok(Some(Explained { n_top: None })),
            Some(value) => {
                let n = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= MAX_EXPLAINED);
                let n = n.ok_or_else(|| {
                    let expected = format!("expected true, false, or a number from 0 to {MAX_EXPLAINED}");
                    Error::field("proxy.explain", format!("{value}, {expected}"))
                })?;
                Ok(Some(Explained { n_top: Some(n) }))
            }
        }
    }

    /// Puts what is asked for into a request; which ensemble it is for.
    pub fn apply(&self, model: Model<'_>, request: &mut Request) -> Result<usize, Error> {
        let proxy = self.proxy.clone().unwrap_or_default();
        request.weights = proxy.weights(model)?;
        request.begin = proxy.begin.unwrap_or_default();
        if let Some(plausibility) = proxy.plausibility {
            request.sampling.plausibility = plausibility;
            request.sampling.validate().map_err(|error| Error::field("proxy.plausibility", error))?;
        }
        let is_off = proxy.off && !model.served.pairs.is_empty();
        request.sampled = if is_off { Sampled::Alone(Role::Base) } else { model.sampled };
        if request.sampled != Sampled::Steered && request.weights != WeightsRequest::default() {
            let why =
                if is_off { "`off` is given beside it".to_owned() } else { format!("{} is not steered", model.id()) };
            return Err(Error::field("proxy", format!("α is given, and {why}")));
        }
        match self.guidance()? {
            None => Ok(model.served.ensemble),
            Some(scale) => self.guide(scale, model, request),
        }
    }

    /// Asks for guidance beside what the pairs do. The base by itself is guided with pairs that do nothing.
    fn guide(&self, scale: f32, model: Model<'_>, request: &mut Request) -> Result<usize, Error> {
        let WeightsRequest { alpha, pairs, base, .. } = &mut request.weights;
        match request.sampled {
            // With one for each, the last one is that of guidance, which is said by its name.
            Sampled::Steered if alpha.len() > 1 => alpha.push(Schedule::constant(0.0)),
            Sampled::Steered => {}
            Sampled::Alone(Role::Base) => {
                (*alpha, *base) = (vec![Schedule::constant(0.0)], Some(Schedule::constant(1.0)));
            }
            Sampled::Alone(_) => {
                let why = format!("guidance is of the base, and {} is not", model.id());
                return Err(Error::unsupported("guidance_scale", why));
            }
        }
        request.sampled = Sampled::Steered;
        pairs.insert(Plan::GUIDANCE.to_owned(), Schedule::constant(scale - 1.0));
        let prompt = Some(self.negative_prompt.clone().unwrap_or_default());
        request.views.push((Role::Antiexpert(model.served.pairs.len()), View { prompt, ..View::default() }));
        Ok(model.served.guided)
    }

    /// The scale, where there is guidance.
    fn guidance(&self) -> Result<Option<f32>, Error> {
        let has_prompt = self.negative_prompt.as_ref().is_some_and(|prompt| !prompt.is_empty());
        match self.guidance_scale {
            None if has_prompt => {
                Err(Error::field("negative_prompt", "it needs a `guidance_scale`, of 1.5 for instance"))
            }
            None => Ok(None),
            Some(scale) => {
                if let Ok(()) = check_alpha(scale - 1.0) {
                    Ok(Some(scale).filter(|scale| *scale != 1.0))
                } else {
                    let (least, most) = (1.0 - MAX_ALPHA, 1.0 + MAX_ALPHA);
                    Err(Error::field("guidance_scale", format!("{scale}, expected a number from {least} to {most}")))
                }
            }
        }
    }
}

/// How a text is steered otherwise while it is written: the fields of `proxy` that can change. What is left out stays as it
/// is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = ProxyChange)]
pub struct Change {
    /// α of every pair: a number, or a list with one for each.
    #[schema(value_type = Option<Object>)]
    pub alpha: Option<Value>,
    /// α along the whole answer, as in `1@0..0.5@64`: a text, or a list with one for each pair.
    #[schema(value_type = Option<Object>)]
    pub schedule: Option<Value>,
    /// α of single pairs by their names; the others stay as they are.
    #[schema(value_type = Option<Object>)]
    pub pairs: Option<Map<String, Value>>,
}

impl Change {
    /// Reads it from a body.
    pub fn read(body: &Value) -> Result<Self, Error> {
        const FIXED: [&str; 4] = ["plausibility", "off", "explain", "begin"];
        if let Some(name) = FIXED.iter().find(|name| body.get(**name).is_some()) {
            return Err(Error::unsupported(name, "it cannot change while a text is written"));
        }
        let change: Self = read(body)?;
        let is_empty = change.alpha.is_none() && change.schedule.is_none();
        if is_empty && change.pairs.as_ref().is_none_or(Map::is_empty) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "nothing is to change, expected `alpha`, `schedule` or `pairs`",
            ));
        }
        Ok(change)
    }

    /// The weights of a text of this model.
    pub fn weights(self, model: Model<'_>) -> Result<WeightsRequest, Error> {
        if model.sampled != Sampled::Steered {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{} is not steered, so nothing can change", model.id()),
            ));
        }
        let Self { alpha, schedule, pairs } = self;
        let proxy = Proxy { alpha, schedule, pairs, ..Proxy::default() };
        let of_body = [("proxy.alpha", "alpha"), ("proxy.schedule", "schedule"), ("proxy.pairs", "pairs")];
        let WeightsRequest { alpha, mut pairs, .. } = proxy.weights(model).map_err(|error| error.called(&of_body))?;
        // By their names: a pair that is not the recipe's, as that of guidance, stays as it is.
        for (i, name) in model.served.pairs.iter().enumerate() {
            if let Some(alpha) = alpha.get(i).or(alpha.first()) {
                pairs.entry(name.clone()).or_insert_with(|| alpha.clone());
            }
        }
        Ok(WeightsRequest { pairs, ..WeightsRequest::default() })
    }
}

/// What a stream tells of a change: the first position of the answer for which it holds, and α of the model's pairs.
pub fn changed(Steered { position, alpha }: &Steered, n_pairs: usize) -> Value {
    // Behind those of the recipe is the one of guidance.
    json!({"position": position, "alpha": &alpha[..n_pairs.min(alpha.len())]})
}

impl Proxy {
    /// How far the pairs are asked to steer.
    fn weights(&self, model: Model<'_>) -> Result<WeightsRequest, Error> {
        let known = &model.served.pairs;
        let alpha = match (&self.alpha, &self.schedule) {
            (None, None) => Vec::new(),
            (Some(value), None) => each("proxy.alpha", value, known.len())?,
            (None, Some(value)) => each("proxy.schedule", value, known.len())?,
            (Some(_), Some(_)) => {
                return Err(Error::field("proxy.schedule", "`alpha` is given beside it, expected one of the two"));
            }
        };
        let mut pairs = BTreeMap::new();
        for (name, value) in self.pairs.iter().flatten() {
            if known.iter().all(|known| known != name) {
                let known = known.join(", ");
                return Err(Error::field("proxy.pairs", format!("there is no pair {name:?}, only {known}")));
            }
            pairs.insert(name.clone(), schedule("proxy.pairs", value)?);
        }
        if known.is_empty() && !alpha.is_empty() {
            return Err(Error::field("proxy", format!("α is given, and {} has no pair to steer with", model.id())));
        }
        Ok(WeightsRequest { alpha, pairs, ..WeightsRequest::default() })
    }
}

/// One for all pairs, or one for each.
fn each(name: &str, value: &Value, n_pairs: usize) -> Result<Vec<Schedule>, Error> {
    match value {
        // One of a list is the only pair's.
        Value::Array(list) if list.len() == n_pairs => list.iter().map(|value| schedule(name, value)).collect(),
        Value::Array(list) => {
            let expected = format!("{} values, expected one for all pairs, or {n_pairs}", list.len());
            Err(Error::field(name, expected))
        }
        one => Ok(vec![schedule(name, one)?]),
    }
}

fn schedule(name: &str, value: &Value) -> Result<Schedule, Error> {
    let schedule = Schedule::deserialize(value).map_err(|error| Error::field(name, error))?;
    schedule.validate().map_err(|error| Error::field(name, error))?;
    Ok(schedule)
}
