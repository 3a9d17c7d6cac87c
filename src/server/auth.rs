//! API keys.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::app::App;
use super::error::{Error, ErrorKind};

/// Paths that need no key, as in llama-server.
const PUBLIC: [&str; 4] = ["/health", "/v1/health", "/models", "/v1/models"];

/// Lets a request in that has a key, if keys are asked for.
pub async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, Error> {
    let keys = &app.settings.api_keys;
    let path = request.uri().path();
    let path = path.strip_prefix(&app.settings.prefix).unwrap_or(path);
    if keys.is_empty() || PUBLIC.contains(&path) || request.method() == Method::OPTIONS {
        return Ok(next.run(request).await);
    }
    match given(request.headers()) {
        Some(key) if is_one_of(key, keys) => Ok(next.run(request).await),
        Some(_) => Err(Error::new(ErrorKind::Unauthorized, "the API key is not one of this server's")),
        None => Err(Error::new(
            ErrorKind::Unauthorized,
            "an API key is needed: send it as `Authorization: Bearer KEY` or as `X-Api-Key: KEY`",
        )),
    }
}

/// As `OpenAI`'s clients send it, or as Anthropic's do.
fn given(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let value = value.as_bytes();
        let (scheme, key) = value.split_at_checked(b"Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
    });
    bearer.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes().trim_ascii()))
}

/// All keys are compared to their ends: how long that takes tells nothing but how long they are.
fn is_one_of(key: &[u8], keys: &[String]) -> bool {
    keys.iter().fold(false, |found, known| found | bool::from(known.as_bytes().ct_eq(key)))
}
