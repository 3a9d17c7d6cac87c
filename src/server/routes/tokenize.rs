//! `POST /tokenize`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::engine::Question;
use crate::engine::desk::Spelled;
use crate::prompt::Piece;
use crate::server::app::App;
use crate::server::body::{Object, blocking};
use crate::server::error::Error;
use crate::server::questions::tokens;
use crate::server::wire::completion::flag;
use crate::server::wire::prompt::mixed;
use crate::server::wire::tokens::vocabulary;
use crate::steer::Role;

/// A text whose tokens are asked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenizeRequest {
    pub model: Option<String>,
    /// A text, or texts and token ids in a list.
    #[schema(value_type = Object)]
    pub content: Option<Value>,
    /// The same as vLLM names it.
    #[schema(value_type = Object)]
    pub prompt: Option<Value>,
    /// Put the token in front that the model wants there; false by default. `add_special_tokens` is the same.
    pub add_special: Option<bool>,
    /// Names of control tokens are the tokens; true by default.
    pub parse_special: Option<bool>,
    /// Tell each token's text too, or its bytes where they are no text.
    pub with_pieces: Option<bool>,
}

/// The tokens of a text.
#[utoipa::path(
    post, path = "/tokenize", tag = "llama.cpp", request_body = TokenizeRequest,
    responses((status = 200, description = "`tokens`", body = Object), (status = "4XX", body = Object))
)]
pub async fn create(State(app): State<Arc<App>>, Object(body): Object) -> Result<Json<Value>, Error> {
    let (ensemble, role) = vocabulary(&app, &body)?;
    let field = if body.get("content").is_none() { "prompt" } else { "content" };
    let pieces = match body.get(field) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => vec![Piece::Raw(text.clone())],
        Some(Value::Array(list)) => mixed(field, list)?,
        Some(other) => return Err(Error::field(field, format!("{other}, expected a text"))),
    };
    let add_special = flag(&body, "add_special")? || flag(&body, "add_special_tokens")?;
    let parse_special = body.get("parse_special").is_none_or(Value::is_null) || flag(&body, "parse_special")?;
    let with_pieces = flag(&body, "with_pieces")?;
    let found = blocking(move || spelled(&app, ensemble, role, pieces, add_special, parse_special)).await?;
    let told = |Spelled { id, bytes }: Spelled| match (with_pieces, String::from_utf8(bytes)) {
        (false, _) => json!(id),
        (true, Ok(piece)) => json!({"id": id, "piece": piece}),
        (true, Err(error)) => json!({"id": id, "piece": error.into_bytes()}),
    };
    Ok(Json(json!({"tokens": found.into_iter().map(told).collect::<Vec<_>>()})))
}

/// The tokens of texts and ids in turn. Blocks.
fn spelled(
    app: &App,
    ensemble: usize,
    role: Role,
    pieces: Vec<Piece>,
    add_special: bool,
    parse_special: bool,
) -> Result<Vec<Spelled>, Error> {
    let mut spelled = Vec::new();
    for (i, piece) in pieces.into_iter().enumerate() {
        let question = match piece {
            Piece::Tokens(ids) => Question::Spell { ensemble, role, tokens: ids },
            Piece::Raw(text) | Piece::Template(text) | Piece::Content(text) => {
                Question::Tokenise { ensemble, role, text, add_special: add_special && i == 0, parse_special }
            }
        };
        spelled.append(&mut tokens(app, question)?);
    }
    Ok(spelled)
}
