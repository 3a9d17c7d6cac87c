//! `POST /api/chat`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::ask::{ChatRequest, renamed, translated};
use super::name::listed;
use super::reply::{Lines, Teller};
use crate::generate::Input;
use crate::server::app::App;
use crate::server::body::{Object, read};
use crate::server::error::Error;
use crate::server::outcome::Outcome;
use crate::server::routes::chat::MAX_TOP_LOGPROBS;
use crate::server::running::Running;
use crate::server::sse;
use crate::server::wire::completion::{asked, count, flag};
use crate::server::wire::messages::{MessageField, conversation};
use crate::server::wire::{response_format, tools};

/// The parts that are no fields of the chat endpoint.
#[derive(Debug, Deserialize)]
struct Own {
    messages: Option<Vec<MessageField>>,
    stream: Option<bool>,
}

/// Answers a conversation, one object a line.
#[utoipa::path(
    post, path = "/api/chat", tag = "Ollama", request_body = ChatRequest,
    responses(
        (status = 200, description = "The answer, or a line for each of its pieces",
            content((Object = "application/json"), (String = "application/x-ndjson"))),
        (status = "4XX", body = Object)
    )
)]
pub async fn create(State(app): State<Arc<App>>, Object(body): Object) -> Result<Response, Error> {
    let Own { messages, stream } = read(&body)?;
    let top = count(&body, "top_logprobs", 0, MAX_TOP_LOGPROBS)?;
    let with_logprobs = flag(&body, "logprobs")?;
    let translated: Value = translated(&app, &body)?;
    let mut asked = asked(&app, &translated).await.map_err(renamed)?;
    response_format::apply(&translated, &mut asked.job.request.sampling).map_err(renamed)?;
    if with_logprobs {
        asked.report(top.unwrap_or(0));
    }
    let teller = Teller::new(&asked, listed(asked.model), with_logprobs.then_some(top.unwrap_or(0)));
    let messages = messages.unwrap_or_default();
    // Clients have a model loaded so before they need it.
    if messages.is_empty() {
        return Ok(Json(teller.loaded()).into_response());
    }
    let mut conversation = conversation(&messages, asked.model.served.defaults.system.as_ref())?;
    conversation.tools = tools::toolbox(&translated)?;
    let running = Running::start(&app, asked.with(Input::Conversation(conversation)))?;
    if stream.unwrap_or(true) {
        return sse::respond_in_lines(vec![running], Lines::new(teller)).await;
    }
    Ok(Json(teller.whole(&Outcome::of(running).await?)).into_response())
}
