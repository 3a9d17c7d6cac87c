//! `GET /tokenizer_info`: what lm-evaluation-harness asks of vLLM, to make prompts of its own.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use super::props::{named, template};
use crate::engine::about::Named;
use crate::server::app::App;
use crate::server::error::Error;

/// The special tokens and the chat template of a model.
#[utoipa::path(
    get, path = "/tokenizer_info", tag = "vLLM", params(("model" = Option<String>, Query, description = "An id of `/v1/models`; without one the first")),
    responses((status = 200, description = "Tokens by their names", body = Object), (status = "4XX", body = Object))
)]
pub async fn read(
    State(app): State<Arc<App>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Error> {
    let model = named(&app, &query)?;
    let all = app.about()?;
    let about = all.get(model.served.ensemble).ok_or_else(Error::no_facts)?;
    let text = |token: &Option<Named>| token.as_ref().map(|token| token.text.clone());
    Ok(Json(json!({
        "tokenizer_class": "llama.cpp", "bos_token": text(&about.bos), "eos_token": text(&about.eos),
        // Whoever fills up batches needs one.
        "pad_token": text(&about.pad).or_else(|| text(&about.eos)), "add_bos_token": about.starts_with_bos,
        "chat_template": template(about, model), "model_max_length": about.n_ctx,
    })))
}
