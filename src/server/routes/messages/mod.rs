//! `POST /v1/messages` and `POST /v1/messages/count_tokens`: Anthropic's dialect of the chat endpoint.

mod ask;
mod reply;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use self::ask::{MessagesRequest, conversation, translated};
use self::reply::{Blocks, Teller};
use crate::generate::Input;
use crate::server::app::App;
use crate::server::body::{Object, blocking};
use crate::server::error::Error;
use crate::server::outcome::Outcome;
use crate::server::questions::prompt;
use crate::server::running::Running;
use crate::server::sse;
use crate::server::wire::completion::{asked, flag};
use crate::server::wire::{response_format, tools};

/// Answers a conversation.
#[utoipa::path(
    post, path = "/v1/messages", tag = "Anthropic", request_body = MessagesRequest,
    responses(
        (status = 200, description = "The answer, or a stream of its events",
            content((Object = "application/json"), (String = "text/event-stream"))),
        (status = "4XX", body = Object)
    )
)]
pub async fn create(State(app): State<Arc<App>>, Object(body): Object) -> Result<Response, Error> {
    let is_stream = flag(&body, "stream")?;
    let translated = translated(&body)?;
    let mut asked = asked(&app, &translated).await.map_err(renamed)?;
    response_format::apply(&translated, &mut asked.job.request.sampling).map_err(renamed)?;
    let mut conversation = conversation(&body, asked.model.served.defaults.system.as_ref())?;
    conversation.tools = tools::toolbox(&translated)?;
    let teller = Teller::new(&asked);
    let running = Running::start(&app, asked.with(Input::Conversation(conversation)))?;
    let running = running.listed(teller.id(), &asked.writer().id());
    if is_stream {
        return sse::respond(vec![running], Blocks::new(teller), app.settings.sse_ping).await;
    }
    Ok(Json(teller.whole(&Outcome::of(running).await?)).into_response())
}

/// Counts the tokens of a conversation as the model that writes the answer is given it.
#[utoipa::path(
    post, path = "/v1/messages/count_tokens", tag = "Anthropic", request_body = MessagesRequest,
    responses((status = 200, description = "How many they are", body = Object), (status = "4XX", body = Object))
)]
pub async fn count_tokens(State(app): State<Arc<App>>, Object(body): Object) -> Result<Json<Value>, Error> {
    let translated = translated(&body)?;
    let asked = asked(&app, &translated).await.map_err(renamed)?;
    let mut conversation = conversation(&body, asked.model.served.defaults.system.as_ref())?;
    conversation.tools = tools::toolbox(&translated)?;
    let job = asked.with(Input::Conversation(conversation));
    let app = app.clone();
    let (_, tokens) = blocking(move || prompt(&app, job)).await?;
    Ok(Json(json!({"input_tokens": tokens.len()})))
}

/// Fields that are called otherwise in this dialect.
fn renamed(error: Error) -> Error {
    error.called(&[("stop", "stop_sequences"), ("response_format", "output_config.format")])
}
