//! `GET /metrics`

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::server::app::App;
use crate::server::error::{Error, ErrorKind};

/// Counts since the start, as Prometheus reads them.
#[utoipa::path(
    get, path = "/metrics", tag = "llama.cpp",
    responses((status = 200, description = "Prometheus's text", body = String, content_type = "text/plain"), (status = 501, description = "Not switched on", body = Object))
)]
pub async fn read(State(app): State<Arc<App>>) -> Result<Response, Error> {
    if !app.settings.metrics {
        return Err(Error::new(ErrorKind::Disabled, "metrics are not switched on: start the server with --metrics"));
    }
    let text = app.metrics.text(&app.engine.health());
    let text = text.map_err(|error| Error::new(ErrorKind::Internal, format!("metrics cannot be written: {error}")))?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
