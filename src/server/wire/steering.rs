//! How far a request is steered: `proxy`, and classifier-free guidance under the names that clients know.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::generate::Request;
use crate::generate::probs::{Logprob, Position, Sides};
use crate::recipe::{Schedule, View};
use crate::server::catalog::Model;
use crate::server::error::Error;
use crate::steer::{Role, Sampled, WeightsRequest};

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
    /// Tell each token's log-probability under every role.
    pub explain: bool,
}

impl SteeringFields {
    /// Whether each token is to be explained.
    pub fn explains(&self) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.explain)
    }

    /// Puts what is asked for into a request; which ensemble it is for.
    pub fn apply(&self, model: Model<'_>, request: &mut Request) -> Result<usize, Error> {
        let proxy = self.proxy.clone().unwrap_or_default();
        let asked = proxy.alphas(model)?;
        if let Some(plausibility) = proxy.plausibility {
            request.sampling.plausibility = plausibility;
            request.sampling.validate()?;
        }
        let is_off = proxy.off && !model.served.pairs.is_empty();
        request.sampled = if is_off { Sampled::Alone(Role::Base) } else { model.sampled };
        if request.sampled != Sampled::Steered && asked.is_some() {
            let what =
                if is_off { "`off` is given beside it".to_owned() } else { format!("{} is not steered", model.id()) };
            return Err(Error::field("proxy", format!("α is given, and {what}")));
        }
        let Some(scale) = self.guidance()? else {
            request.weights = WeightsRequest { alpha: asked.unwrap_or_default(), ..WeightsRequest::default() };
            return Ok(model.served.ensemble);
        };
        let mut alphas = match request.sampled {
            Sampled::Steered => {
                asked.unwrap_or_else(|| model.served.pairs.iter().map(|(_, alpha)| alpha.clone()).collect())
            }
            Sampled::Alone(Role::Base) => model.served.pairs.iter().map(|_| Schedule::constant(0.0)).collect(),
            Sampled::Alone(_) => {
                return Err(Error::unsupported(
                    "guidance_scale",
                    format!("guidance is of the base, and {} is not", model.id()),
                ));
            }
        };
        let guide = Schedule::constant(scale - 1.0);
        guide.validate()?;
        alphas.push(guide);
        let prompt = Some(self.negative_prompt.clone().unwrap_or_default());
        request.views.push((Role::Antiexpert(alphas.len() - 1), View { prompt, ..View::default() }));
        request.sampled = Sampled::Steered;
        request.weights = WeightsRequest { alpha: alphas, ..WeightsRequest::default() };
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
            Some(scale) => Ok(Some(scale).filter(|scale| *scale != 1.0)),
        }
    }
}

impl Proxy {
    /// α of each pair, if any is asked for.
    fn alphas(&self, model: Model<'_>) -> Result<Option<Vec<Schedule>>, Error> {
        let planned = &model.served.pairs;
        let given = [("proxy.alpha", &self.alpha), ("proxy.schedule", &self.schedule)];
        let given: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
        let mut alphas = match given[..] {
            [] => planned.iter().map(|(_, alpha)| alpha.clone()).collect(),
            [(name, value)] => each(name, value, planned.len())?,
            _ => return Err(Error::field("proxy.schedule", "`alpha` is given beside it, expected one of the two")),
        };
        if planned.is_empty() && (!given.is_empty() || self.pairs.is_some()) {
            return Err(Error::field("proxy", format!("α is given, and {} has no pair to steer with", model.id())));
        }
        for (name, value) in self.pairs.iter().flatten() {
            let Some(i) = planned.iter().position(|(known, _)| known == name) else {
                let known: Vec<_> = planned.iter().map(|(name, _)| name.as_str()).collect();
                let message = format!("there is no pair {name:?}, only {}", known.join(", "));
                return Err(Error::field("proxy.pairs", message));
            };
            alphas[i] = schedule("proxy.pairs", value)?;
        }
        Ok((!given.is_empty() || self.pairs.is_some()).then_some(alphas))
    }
}

/// One for all pairs, or one for each.
fn each(name: &str, value: &Value, n_pairs: usize) -> Result<Vec<Schedule>, Error> {
    match value {
        Value::Array(list) if list.len() == n_pairs => list.iter().map(|value| schedule(name, value)).collect(),
        Value::Array(list) => {
            let expected = format!("{} values, expected one for all pairs, or {n_pairs}", list.len());
            Err(Error::field(name, expected))
        }
        one => Ok(vec![schedule(name, one)?; n_pairs]),
    }
}

fn schedule(name: &str, value: &Value) -> Result<Schedule, Error> {
    let schedule = Schedule::deserialize(value).map_err(|error| Error::field(name, error))?;
    schedule.validate().map_err(|error| Error::field(name, error))?;
    Ok(schedule)
}

/// A token under every role: natural logarithms, `null` for a role that does not have the token.
pub fn explained(position: &Position, names: &[(String, Schedule)]) -> Value {
    let Position { chosen, base_top, changed, .. } = position;
    let mut object = roles(chosen, names);
    object["base_top"] = roles(base_top, names);
    object["changed"] = json!(changed);
    object
}

fn roles(token: &Logprob, names: &[(String, Schedule)]) -> Value {
    let pair = |(i, Sides { expert, antiexpert }): (usize, &Sides)| {
        // The pair behind those of the recipe is guidance.
        let name = names.get(i).map_or("guidance", |(name, _)| name);
        (name.to_owned(), json!({"expert": expert, "antiexpert": antiexpert}))
    };
    let pairs: Map<_, _> = token.pairs.iter().enumerate().map(pair).collect();
    json!({
        "id": token.id, "token": token.piece(), "steered": token.composed, "base": token.base, "pairs": pairs,
    })
}
