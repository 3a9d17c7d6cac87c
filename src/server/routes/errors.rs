//! Errors in the words of clients that do not speak `OpenAI`'s dialect.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

use crate::server::app::App;
use crate::server::error::{Error, ErrorKind};

/// Says an error as the path's clients read it, whichever layer it comes from.
pub async fn translate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let path = path.strip_prefix(&app.settings.prefix).unwrap_or(path);
    let say = if path.starts_with("/v1/messages") {
        anthropic
    } else if path.starts_with("/api/") {
        ollama
    } else {
        return next.run(request).await;
    };
    let response = next.run(request).await;
    match response.extensions().get::<Error>() {
        Some(error) => error.respond(say(error)),
        None => response,
    }
}

/// `{"type": "error", "error": {"type", "message"}}`, with Anthropic's names of types.
pub fn anthropic(error: &Error) -> Value {
    use ErrorKind as K;
    let kind = match error.kind() {
        K::Invalid | K::Unsupported | K::ContextLength | K::WrongMethod | K::Disabled => "invalid_request_error",
        K::Unauthorized => "authentication_error",
        K::Forbidden => "permission_error",
        K::NoSuchModel | K::NoSuchPath | K::NoSuchReply => "not_found_error",
        K::TooLarge => "request_too_large",
        K::TooSlow => "timeout_error",
        K::Busy => "rate_limit_error",
        K::Unavailable => "overloaded_error",
        K::Internal => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": error.to_string()}})
}

/// `{"error": "…"}`
pub fn ollama(error: &Error) -> Value {
    json!({"error": error.to_string()})
}
