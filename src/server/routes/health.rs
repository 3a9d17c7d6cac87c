//! `GET /health`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::engine::Health;
use crate::server::app::App;
use crate::server::error::Error;

/// Whether requests are answered: 503 while models load, and while the engine is started anew.
#[utoipa::path(
    get, path = "/health", tag = "server",
    responses((status = 200, description = "Ready", body = Object), (status = 503, description = "Not yet, or not now", body = Object))
)]
pub async fn health(State(app): State<Arc<App>>) -> Result<Json<Value>, Error> {
    app.about()?;
    let Health { n_running, n_waiting, n_restarts, .. } = app.engine.health();
    Ok(Json(json!({"status": "ok", "n_running": n_running, "n_waiting": n_waiting, "n_restarts": n_restarts})))
}
