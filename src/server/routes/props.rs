//! `GET /props`: what a model is, and what holds where a request says nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use crate::engine::about::{About, Named};
use crate::server::app::App;
use crate::server::catalog::Model;
use crate::server::error::{Error, ErrorKind};
use crate::server::wire::settings::sampling;
use crate::steer::Sampled;

/// Facts of a model, and the defaults of its requests.
#[utoipa::path(
    get, path = "/props", tag = "llama.cpp", params(("model" = Option<String>, Query, description = "An id of `/v1/models`; without one the first")),
    responses((status = 200, description = "Facts", body = Object), (status = "4XX", body = Object), (status = 503, description = "Not loaded yet", body = Object))
)]
pub async fn read(
    State(app): State<Arc<App>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Error> {
    let model = named(&app, &query)?;
    let all = app.about()?;
    let about = all.get(model.served.ensemble).ok_or_else(Error::no_facts)?;
    let defaults = &model.served.defaults;
    let base = about.base();
    let name = |token: &Option<Named>| token.as_ref().map(|token| token.text.clone()).unwrap_or_default();
    let can = |what: &[&str], is: bool| what.iter().map(|what| ((*what).to_owned(), json!(is))).collect::<Vec<_>>();
    let nothing = can(&["supports_preserve_reasoning", "supports_reasoning_effort"], false);
    let all = can(
        &[
            "supports_tools",
            "supports_tool_calls",
            "supports_parallel_tool_calls",
            "supports_object_arguments",
            "supports_system_role",
            "supports_string_content",
            "supports_typed_content",
        ],
        true,
    );
    let caps: serde_json::Map<_, _> = nothing.into_iter().chain(all).collect();
    let pairs: serde_json::Map<_, _> =
        model.served.pairs.iter().zip(&about.alphas).map(|(name, alpha)| (name.clone(), json!(alpha))).collect();
    Ok(Json(json!({
        "default_generation_settings": {
            "params": sampling(&defaults.sampling, defaults.n_predict), "n_ctx": about.n_ctx,
        },
        "total_slots": app.n_slots(), "model_alias": model.id(),
        // The name alone: where files are is nobody's business.
        "model_path": base.map(|base| base.file.as_str()), "model_ftype": base.map(|base| base.description.as_str()),
        "modalities": {"vision": false, "audio": false, "video": false},
        "endpoint_slots": app.settings.slots, "endpoint_props": false, "endpoint_metrics": app.settings.metrics,
        "chat_template": template(about, model).unwrap_or_default(), "chat_template_caps": caps,
        "bos_token": name(&about.bos), "eos_token": name(&about.eos), "build_info": crate::server::FINGERPRINT,
        "is_sleeping": false, "proxy": {
            "pairs": pairs, "is_steered": model.sampled == Sampled::Steered && !pairs.is_empty(),
            "weights": about.weights, "example_prompt": defaults.example_prompt,
        },
    })))
}

/// Refused, as by a llama-server without `--props`.
#[utoipa::path(post, path = "/props", tag = "llama.cpp", responses((status = 501, description = "Not done here", body = Object)))]
pub async fn change() -> Error {
    Error::new(ErrorKind::Disabled, "properties are set by the server's flags, and not changed while it runs")
}

/// The model that a query names.
pub fn named<'a>(app: &'a App, query: &[(String, String)]) -> Result<Model<'a>, Error> {
    app.catalog.find(query.iter().find(|(name, _)| name == "model").map(|(_, id)| id.as_str()))
}

/// The chat template that a model's conversations are written in: its own, or of several roles the first one's that has any.
pub fn template(about: &About, model: Model<'_>) -> Option<String> {
    let mut roles = about.roles.iter().filter(|about| match model.sampled {
        Sampled::Alone(role) => about.role == role,
        Sampled::Steered => true,
    });
    roles.find_map(|about| about.template.clone())
}
