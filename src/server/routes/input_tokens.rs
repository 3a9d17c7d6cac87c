//! `POST /v1/chat/completions/input_tokens`: how long a conversation is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::apply_template::TemplateRequest;
use crate::generate::{Input, Request};
use crate::server::app::App;
use crate::server::body::{Object, blocking, read};
use crate::server::error::Error;
use crate::server::job::Job;
use crate::server::questions::prompt;
use crate::server::wire::completion::model_id;
use crate::server::wire::messages::{conversation, refuse_of_template};

/// The tokens of a conversation's prompt, as the role has it that tokens are chosen for.
#[utoipa::path(
    post, path = "/v1/chat/completions/input_tokens", tag = "llama.cpp", request_body = TemplateRequest,
    responses((status = 200, description = "`input_tokens`", body = Object), (status = "4XX", body = Object))
)]
pub async fn create(State(app): State<Arc<App>>, Object(body): Object) -> Result<Json<Value>, Error> {
    let TemplateRequest { messages, .. } = read(&body)?;
    refuse_of_template(&body, &messages)?;
    let model = app.catalog.find(model_id(&body)?)?;
    let input = Input::Conversation(conversation(&messages, model.served.defaults.system.as_ref())?);
    let request = Request { sampled: model.sampled, input, ..Request::default() };
    let job = Job { ensemble: model.served.ensemble, request, time_limit: None };
    let app = app.clone();
    let (_, tokens) = blocking(move || prompt(&app, job)).await?;
    Ok(Json(json!({"object": "response.input_tokens", "input_tokens": tokens.len()})))
}
