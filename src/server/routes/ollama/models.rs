//! `GET /api/version`, `GET /api/tags` and `POST /api/show`.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::name::{find, listed};
use crate::engine::About;
use crate::server::app::App;
use crate::server::body::Object;
use crate::server::catalog::{Defaults, Model};
use crate::server::error::{Error, ErrorKind};
use crate::steer::{Role, Sampled};

/// The version of Ollama whose API these routes follow: clients refuse one that is too old for them.
const VERSION: &str = "0.12.11";

/// Which version of Ollama these routes are like.
#[utoipa::path(get, path = "/api/version", tag = "Ollama", responses((status = 200, description = "The version", body = Object)))]
pub async fn version() -> Json<Value> {
    Json(json!({"version": VERSION}))
}

/// Every model with what its files say.
#[utoipa::path(
    get, path = "/api/tags", tag = "Ollama",
    responses((status = 200, description = "The models", body = Object), (status = 503, description = "They are being loaded", body = Object))
)]
pub async fn tags(State(app): State<Arc<App>>) -> Result<Json<Value>, Error> {
    let known = app.about()?;
    let models = app.catalog.models().filter_map(|model| Some(entry(&app, model, known.get(model.served.ensemble)?)));
    Ok(Json(json!({"models": models.collect::<Vec<_>>()})))
}

/// Which model is to be shown.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ShowRequest {
    /// A name of `/api/tags`; without one the first.
    pub model: Option<String>,
}

/// One model: its template, its defaults, and how much text it can hold.
#[utoipa::path(
    post, path = "/api/show", tag = "Ollama", request_body = ShowRequest,
    responses((status = 200, description = "The model", body = Object), (status = "4XX", body = Object))
)]
pub async fn show(State(app): State<Arc<App>>, Object(mut body): Object) -> Result<Json<Value>, Error> {
    // As older clients call it.
    if body.get("model").is_none_or(Value::is_null) {
        body["model"] = body["name"].take();
    }
    let model = find(&app, &body)?;
    let known = app.about()?;
    let about = known.get(model.served.ensemble).ok_or_else(not_known)?;
    let facts = Facts::of(model, about);
    let family = facts.family();
    Ok(Json(json!({
        "modelfile": "", "license": "", "parameters": parameters(&model.served.defaults),
        "template": facts.template.as_deref().unwrap_or("{{ .Prompt }}"), "details": facts.details(),
        "modified_at": timestamp(&app), "capabilities": ["completion", "tools"],
        "model_info": {
            "general.architecture": family, "general.basename": model.id(), "general.parameter_count": facts.n_params,
            // What a request can have; the models may have been trained on more.
            format!("{family}.context_length"): about.n_ctx,
            format!("{family}.vocab_size"): about.n_vocab,
        },
    })))
}

fn not_known() -> Error {
    Error::new(ErrorKind::Internal, "the engine does not know this model")
}

/// A model as it is listed.
fn entry(app: &App, model: Model<'_>, about: &About) -> Value {
    let (name, facts) = (listed(model), Facts::of(model, about));
    json!({
        "name": name, "model": name, "modified_at": timestamp(app), "size": facts.n_bytes, "digest": facts.digest(&name),
        "details": facts.details(),
    })
}

/// When the models were loaded: nobody changes them since.
fn timestamp(app: &App) -> String {
    let started = i64::try_from(app.started).ok().and_then(|started| Timestamp::from_second(started).ok());
    started.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// What is told of a model: a steered one has the base's architecture and the size of all.
struct Facts {
    description: String,
    template: Option<String>,
    n_params: u64,
    n_bytes: u64,
}

impl Facts {
    fn of(model: Model<'_>, about: &About) -> Self {
        let alone = if let Sampled::Alone(role) = model.sampled { Some(role) } else { None };
        let role = about.role(alone.unwrap_or(Role::Base)).or(about.base());
        let (n_params, n_bytes) = match (alone, role) {
            (Some(_), Some(role)) => (role.n_params, role.n_bytes),
            _ => (about.n_params, about.n_bytes),
        };
        let description = role.map(|role| role.description.clone()).unwrap_or_default();
        Self { description, template: role.and_then(|role| role.template.clone()), n_params, n_bytes }
    }

    /// The architecture, as llama.cpp's descriptions begin.
    fn family(&self) -> &str {
        self.description.split(' ').next().unwrap_or_default()
    }

    fn details(&self) -> Value {
        // Behind architecture and size.
        let quantisation = self.description.splitn(3, ' ').nth(2).unwrap_or_default();
        let family = self.family();
        json!({
            "parent_model": "", "format": "gguf", "family": family, "families": [family],
            "parameter_size": rounded(self.n_params), "quantization_level": quantisation,
        })
    }

    /// 64 digits that tell models apart. Files are not read for them: they are of the name and the sizes.
    fn digest(&self, name: &str) -> String {
        (0..4_u8).fold(String::new(), |mut digits, i| {
            let mut hasher = DefaultHasher::new();
            (i, name, &self.description, self.n_params, self.n_bytes).hash(&mut hasher);
            let _ = write!(digits, "{:016x}", hasher.finish());
            digits
        })
    }
}

/// A number of parameters as people say it.
fn rounded(n: u64) -> String {
    let n = n as f64;
    match n {
        n if n >= 1e9 => format!("{:.1}B", n / 1e9),
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n => format!("{:.1}K", n / 1e3),
    }
}

/// What holds where a request says nothing, a line each.
fn parameters(defaults: &Defaults) -> String {
    let sampling = &defaults.sampling;
    let mut lines = vec![
        format!("temperature {}", sampling.temp),
        format!("top_k {}", sampling.top_k),
        format!("top_p {}", sampling.top_p),
        format!("min_p {}", sampling.min_p),
        format!("repeat_penalty {}", sampling.repeat_penalty),
    ];
    lines.extend(defaults.n_predict.map(|n| format!("num_predict {n}")));
    lines.extend(defaults.stop.iter().map(|text| format!("stop {text:?}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn numbers_of_parameters_are_rounded() {
        assert_eq!([8_030_261_248, 8_933_440, 4096].map(rounded), ["8.0B", "8.9M", "4.1K"]);
    }
}
