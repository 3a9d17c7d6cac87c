//! `POST /completion`: llama-server's own way to continue texts.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::native::{self, NativeFields};
use crate::generate::Input;
use crate::server::app::App;
use crate::server::body::Object;
use crate::server::error::Error;
use crate::server::wire::limits::LimitFields;
use crate::server::wire::prompt::prompts;
use crate::server::wire::sampling::SamplingFields;
use crate::server::wire::steering::SteeringFields;

/// Texts to be continued, as they are. Fields that are not listed are left alone.
#[derive(Debug, Serialize, ToSchema)]
pub struct NativeRequest {
    /// An id of `/v1/models`; without one the first.
    pub model: Option<String>,
    /// A text; token ids, also with texts between them; or a list of several prompts.
    #[schema(value_type = Object)]
    pub prompt: Value,
    #[serde(flatten)]
    pub native: NativeFields,
    #[serde(flatten)]
    pub sampling: SamplingFields,
    #[serde(flatten)]
    pub limits: LimitFields,
    #[serde(flatten)]
    pub steering: SteeringFields,
}

/// Continues texts: an object for one text, a list for several, or a stream of events.
#[utoipa::path(
    post, path = "/completion", tag = "llama.cpp", request_body = NativeRequest,
    responses(
        (status = 200, description = "The text, or a stream of its tokens",
            content((Object = "application/json"), (String = "text/event-stream"))),
        (status = "4XX", body = Object)
    )
)]
pub async fn create(State(app): State<Arc<App>>, Object(body): Object) -> Result<Response, Error> {
    let inputs = prompts(body.get("prompt"))?.into_iter().map(Input::Raw).collect();
    native::respond(&app, &body, inputs).await
}
