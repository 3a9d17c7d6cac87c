//! `GET /v1/models`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::engine::About;
use crate::server::app::App;
use crate::server::catalog::Model;
use crate::server::error::Error;
use crate::steer::Sampled;

/// Every id that a request may name.
#[utoipa::path(get, path = "/v1/models", tag = "OpenAI", responses((status = 200, description = "The ids", body = Object)))]
pub async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    // While models load their ids are known, and little else.
    let all = app.about().ok();
    let about = |model: Model<'_>| all.as_ref()?.get(model.served.ensemble);
    let models: Vec<_> = app.catalog.models().map(|model| entry(&app, model, about(model))).collect();
    Json(json!({"object": "list", "data": models}))
}

/// One of the ids.
#[utoipa::path(
    get, path = "/v1/models/{id}", tag = "OpenAI", params(("id" = String, Path, description = "An id of the list")),
    responses((status = 200, description = "The model", body = Object), (status = 404, description = "No such id", body = Object))
)]
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, Error> {
    let model = app.catalog.find(Some(&id))?;
    let all = app.about().ok();
    Ok(Json(entry(&app, model, all.as_ref().and_then(|all| all.get(model.served.ensemble)))))
}

/// A model as it is listed.
fn entry(app: &App, model: Model<'_>, about: Option<&About>) -> Value {
    let mut entry = json!({
        "id": model.id(), "object": "model", "created": app.started, "owned_by": "llamacpp",
        "aliases": model.served.aliases,
    });
    if let Some(about) = about {
        let alone = if let Sampled::Alone(role) = model.sampled { about.role(role) } else { None };
        let (n_params, n_bytes) = alone.map_or((about.n_params, about.n_bytes), |role| (role.n_params, role.n_bytes));
        entry["meta"] = json!({
            "n_vocab": about.n_vocab, "n_ctx": about.n_ctx, "n_ctx_train": about.n_ctx_train,
            "n_params": n_params, "size": n_bytes,
        });
    }
    entry
}
