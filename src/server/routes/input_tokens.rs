//! `POST /v1/chat/completions/input_tokens`: how long a conversation is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::apply_template::TemplateRequest;
use crate::engine::{Question, Reply};
use crate::generate::Input;
use crate::server::app::App;
use crate::server::body::{Object, blocking, read};
use crate::server::error::{Error, ErrorKind};
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
    let question =
        Question::Prompt { ensemble: model.served.ensemble, sampled: model.sampled, input, views: Vec::new() };
    let app = app.clone();
    let reply = blocking(move || Ok(app.engine.ask(question)?)).await?;
    match reply {
        Reply::Prompts(prompts) => {
            let n = prompts.first().map_or(0, |(_, tokens)| tokens.len());
            Ok(Json(json!({"object": "response.input_tokens", "input_tokens": n})))
        }
        other => Err(Error::new(ErrorKind::Internal, format!("the engine answered {other:?}"))),
    }
}
