//! What every route that writes text reads of its body.

use std::sync::Arc;

use serde_json::Value;

use super::limits::LimitFields;
use super::sampling::SamplingFields;
use super::steering::{Explained, SteeringFields};
use crate::generate::{Input, Request};
use crate::server::app::App;
use crate::server::body::{blocking, read};
use crate::server::catalog::Model;
use crate::server::error::Error;
use crate::server::job::Job;
use crate::server::questions::ids_of;
use crate::steer::{Role, Sampled};

/// A request for text before its prompt is known.
pub struct Asked<'a> {
    pub model: Model<'a>,
    /// Without its input.
    pub job: Job,
    pub explained: Option<Explained>,
}

/// Reads the model, sampling, limits and steering. `body` has the fields of the dialect that are named as llama.cpp has them.
pub async fn asked<'a>(app: &'a Arc<App>, body: &Value) -> Result<Asked<'a>, Error> {
    let model = app.catalog.find(model_id(body)?)?;
    let defaults = &model.served.defaults;
    let (sampling, limits) = (read::<SamplingFields>(body)?, read::<LimitFields>(body)?);
    let steering: SteeringFields = read(body)?;
    refuse(body)?;
    let ensemble = model.served.ensemble;
    let role = if let Sampled::Alone(role) = model.sampled { role } else { Role::Base };
    let (app_, defaults_) = (app.clone(), defaults.sampling.clone());
    let sampling = blocking(move || {
        let ids = |text: &str| ids_of(&app_, ensemble, role, text);
        sampling.over(&defaults_, &ids)
    })
    .await?;
    let mut request = Request {
        sampling,
        n_predict: limits.n_predict(defaults)?,
        stop: limits.stop(defaults)?,
        draft: defaults.draft.clone(),
        ..Request::default()
    };
    let explained = steering.explains()?;
    request.n_probs = explained.map(|explained| explained.n_top.unwrap_or(0));
    let ensemble = steering.apply(model, &mut request)?;
    // Where one role writes by itself nothing leads away from it.
    let has_pairs = !model.served.pairs.is_empty() || ensemble == model.served.guided;
    request.divergence = explained.is_some() && request.sampled == Sampled::Steered && has_pairs;
    Ok(Asked { model, job: Job { ensemble, request, time_limit: limits.time_limit() }, explained })
}

impl Asked<'_> {
    /// Reports so many candidates for each token, or as many as explanations need.
    pub fn report(&mut self, n_probs: usize) {
        self.job.request.n_probs = self.job.request.n_probs.max(Some(n_probs));
    }

    /// The model that writes the text: where steering is off, the base.
    pub fn writer(&self) -> Model<'_> {
        match self.model.sampled {
            Sampled::Steered => Model { sampled: self.job.request.sampled, ..self.model },
            Sampled::Alone(_) => self.model,
        }
    }

    /// The job for an input.
    pub fn with(&self, input: Input) -> Job {
        let mut job = self.job.clone();
        job.request.input = input;
        job
    }
}

/// The `model` of a body, if it names one.
pub fn model_id(body: &Value) -> Result<Option<&str>, Error> {
    match body.get("model") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => Ok(Some(id)),
        Some(other) => Err(Error::field("model", format!("{other}, expected an id of /v1/models"))),
    }
}

/// A number of choices or candidates within bounds.
pub fn count(body: &Value, name: &str, least: usize, most: usize) -> Result<Option<usize>, Error> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let n = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| (least..=most).contains(n));
            n.map(Some).ok_or_else(|| Error::field(name, format!("{value}, expected a number from {least} to {most}")))
        }
    }
}

/// A switch.
pub fn flag(body: &Value, name: &str) -> Result<bool, Error> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(is_on)) => Ok(*is_on),
        Some(other) => Err(Error::field(name, format!("{other}, expected true or false"))),
    }
}

/// Of llama-server, each with the reason.
const REFUSED: [(&str, &str); 7] = [
    ("image_data", "models are given text alone"),
    ("multimodal_data", "models are given text alone"),
    ("post_sampling_probs", "log-probabilities are those before sampling"),
    ("lora", "adapters belong to a recipe, and hold for all its requests"),
    ("grammar_lazy", "a grammar holds from the first token on"),
    ("n_indent", "a `grammar` keeps lines to an indentation"),
    ("backend_sampling", "the stage runs on the CPU, and so does the chain around it"),
];

/// Fields that change what is written and that nothing here honours.
fn refuse(body: &Value) -> Result<(), Error> {
    let is_asked = |name: &str| match body.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(list)) => !list.is_empty(),
        // 0 asks for nothing.
        Some(value) => value.as_u64() != Some(0),
    };
    match REFUSED.iter().find(|(name, _)| is_asked(name)) {
        Some((name, hint)) => Err(Error::unsupported(name, hint)),
        None => Ok(()),
    }
}
