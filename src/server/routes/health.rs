//! `GET /health`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::engine::State as Engine;
use crate::server::app::App;
use crate::server::error::{Error, ErrorKind};

/// Whether requests are answered: 503 while models load, and while the engine is started anew.
#[utoipa::path(
    get, path = "/health", tag = "server",
    responses((status = 200, description = "Ready", body = Object), (status = 503, description = "Not yet, or not now", body = Object))
)]
pub async fn health(State(app): State<Arc<App>>) -> Result<Json<Value>, Error> {
    let health = app.engine.health();
    match health.state {
        Engine::Ready(_) => Ok(Json(json!({
            "status": "ok", "n_running": health.n_running, "n_waiting": health.n_waiting,
            "n_restarts": health.n_restarts,
        }))),
        Engine::Loading { .. } => Err(Error::new(ErrorKind::Unavailable, "Loading model")),
        Engine::Down { failure } => Err(Error::new(ErrorKind::Unavailable, failure.message)),
    }
}
