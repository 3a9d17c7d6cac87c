//! `POST /detokenize`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::server::app::App;
use crate::server::body::{Object, blocking, read};
use crate::server::error::Error;
use crate::server::questions::spell;
use crate::server::wire::tokens::vocabulary;

/// Tokens whose text is asked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DetokenizeRequest {
    pub model: Option<String>,
    pub tokens: Option<Vec<i32>>,
}

/// The text of tokens.
#[utoipa::path(
    post, path = "/detokenize", tag = "llama.cpp", request_body = DetokenizeRequest,
    responses((status = 200, description = "`content`, and the same as `prompt`", body = Object), (status = "4XX", body = Object))
)]
pub async fn create(State(app): State<Arc<App>>, Object(body): Object) -> Result<Json<Value>, Error> {
    let (ensemble, role) = vocabulary(&app, &body)?;
    let DetokenizeRequest { tokens, .. } = read(&body)?;
    let text = blocking(move || spell(&app, ensemble, role, tokens.unwrap_or_default())).await?;
    // vLLM calls it the prompt.
    Ok(Json(json!({"content": text, "prompt": text})))
}
