//! `GET /v1/models`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::engine::About;
use crate::server::app::App;
use crate::server::catalog::Model;

/// Every id that a request may name.
#[utoipa::path(get, path = "/v1/models", tag = "OpenAI", responses((status = 200, description = "The ids", body = Object)))]
pub async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    // While models load their ids are known, and little else.
    let all = app.about().ok();
    let about = |model: Model<'_>| all.as_ref()?.get(model.served.ensemble);
    let models: Vec<_> = app.catalog.models().map(|model| entry(&app, model, about(model))).collect();
    Json(json!({"object": "list", "data": models}))
}

/// A model as it is listed.
fn entry(app: &App, model: Model<'_>, about: Option<&About>) -> Value {
    let mut entry = json!({
        "id": model.id(), "object": "model", "created": app.started, "owned_by": "llamacpp",
        "aliases": model.served.aliases,
    });
    if let Some(about) = about {
        entry["meta"] = json!({
            "n_vocab": about.n_vocab, "n_ctx": about.n_ctx, "n_ctx_train": about.n_ctx_train,
            "n_params": about.n_params, "size": about.n_bytes,
        });
    }
    entry
}
