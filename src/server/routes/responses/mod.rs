//! `POST /v1/responses`: `OpenAI`'s newer dialect of the chat endpoint. Nothing is stored.

mod ask;
mod reply;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use self::ask::{ResponsesRequest, conversation, translated};
use self::reply::{Parts, Teller};
use super::chat::MAX_TOP_LOGPROBS;
use crate::generate::Input;
use crate::server::app::App;
use crate::server::body::Object;
use crate::server::error::Error;
use crate::server::outcome::Outcome;
use crate::server::running::Running;
use crate::server::sse;
use crate::server::wire::completion::{asked, count, flag};
use crate::server::wire::{response_format, tools};

/// Answers a text or a conversation.
#[utoipa::path(
    post, path = "/v1/responses", tag = "OpenAI", request_body = ResponsesRequest,
    responses(
        (status = 200, description = "The response, or a stream of its events",
            content((Object = "application/json"), (String = "text/event-stream"))),
        (status = "4XX", body = Object)
    )
)]
pub async fn create(State(app): State<Arc<App>>, Object(body): Object) -> Result<Response, Error> {
    let is_stream = flag(&body, "stream")?;
    let top = count(&body, "top_logprobs", 0, MAX_TOP_LOGPROBS)?;
    let with_logprobs = top.is_some_and(|top| top > 0) || ask::includes_logprobs(&body);
    let translated = translated(&body)?;
    let mut asked = asked(&app, &translated).await.map_err(renamed)?;
    response_format::apply(&translated, &mut asked.job.request.sampling).map_err(renamed)?;
    if with_logprobs {
        asked.report(top.unwrap_or(0));
    }
    let mut conversation = conversation(&body, asked.model.served.defaults.system.as_ref())?;
    if let Some(conversation) = &mut conversation {
        conversation.tools = tools::toolbox(&translated)?;
    }
    let teller = Teller::new(&asked, &body, with_logprobs.then_some(top.unwrap_or(0)));
    // Clients look with an empty input whether somebody is there.
    let running = match conversation {
        Some(conversation) => {
            let running = Running::start(&app, asked.with(Input::Conversation(conversation)))?;
            Some(running.listed(teller.id(), &asked.writer().id()))
        }
        None => None,
    };
    if is_stream {
        return sse::respond(running.into_iter().collect(), Parts::new(teller), app.settings.sse_ping).await;
    }
    let outcome = match running {
        Some(running) => Some(Outcome::of(running).await?),
        None => None,
    };
    Ok(Json(teller.whole(outcome.as_ref())).into_response())
}

/// Fields that are called otherwise in this dialect.
fn renamed(error: Error) -> Error {
    error.called(&[
        ("max_tokens", "max_output_tokens"),
        ("response_format", "text.format"),
        ("response_format.type", "text.format.type"),
        ("response_format.json_schema.schema", "text.format.schema"),
    ])
}
