//! `GET /v1/models`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::server::app::App;
use crate::server::catalog::Model;

/// Every id that a request may name.
#[utoipa::path(get, path = "/v1/models", tag = "OpenAI", responses((status = 200, description = "The ids", body = Object)))]
pub async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let models: Vec<_> = app.catalog.models().map(|model| entry(&app, model)).collect();
    Json(json!({"object": "list", "data": models}))
}

/// A model as it is listed.
fn entry(app: &App, model: Model<'_>) -> Value {
    json!({
        "id": model.id(), "object": "model", "created": app.started, "owned_by": "llamacpp",
        "aliases": model.served.aliases,
    })
}
