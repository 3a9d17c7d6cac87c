//! `POST /proxy/{id}`: a reply that is being written is steered otherwise from its next token on.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::server::app::App;
use crate::server::body::Object;
use crate::server::error::{Error, ErrorKind};
use crate::server::wire::steering::Change;

/// Changes α of a reply while it is streamed. `texts` is how many texts were told; in streams of `/v1/chat/completions` and
/// `/v1/completions` a chunk tells from which position on it holds.
#[utoipa::path(
    post, path = "/proxy/{id}", tag = "proxytune", request_body = Change,
    params(("id" = String, Path, description = "The `id` of the reply, as its chunks or events have it")),
    responses(
        (status = 200, description = "`{\"id\", \"texts\"}`", body = Object),
        (status = 404, description = "No text of that reply is being written", body = Object),
        (status = "4XX", body = Object)
    )
)]
pub async fn steer(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Object(body): Object,
) -> Result<Json<Value>, Error> {
    let change = Change::read(&body)?;
    let (model, texts) = app.replies.find(&id).ok_or_else(|| {
        let message =
            format!("no text of a reply {id:?} is being written: it has ended, or it is no stream of this server");
        Error::new(ErrorKind::NoSuchReply, message)
    })?;
    let weights = change.weights(app.catalog.find(Some(&model))?)?;
    for text in &texts {
        app.engine.steer(*text, weights.clone());
    }
    Ok(Json(json!({"id": id, "texts": texts.len()})))
}
