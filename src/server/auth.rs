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
const PUBLIC: [&str; 5] = ["/", "/health", "/v1/health", "/models", "/v1/models"];
/// Files of the page, which asks for the key.
const PAGE: &str = "/page/";

/// Lets a request in that has a key, if keys are asked for.
pub async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, Error> {
    let keys = &app.settings.api_keys;
    let path = request.uri().path();
    let path = path.strip_prefix(&app.settings.prefix).unwrap_or(path);
    let is_public = PUBLIC.contains(&path) || path.starts_with(PAGE);
    if keys.is_empty() || is_public || request.method() == Method::OPTIONS {
        return Ok(next.run(request).await);
    }
    let (mut is_given, mut is_known) = (false, false);
    for key in given(request.headers()) {
        (is_given, is_known) = (true, is_known | is_one_of(key, keys));
    }
    match (is_given, is_known) {
        (_, true) => Ok(next.run(request).await),
        (true, false) => Err(Error::new(ErrorKind::Unauthorized, "the API key is not one of this server's")),
        (false, false) => Err(Error::new(
            ErrorKind::Unauthorized,
            "an API key is needed: send it as `Authorization: Bearer KEY` or as `X-Api-Key: KEY`",
        )),
    }
}

/// As `OpenAI`'s clients send them, and as Anthropic's do. Not in a path: those are logged on the way.
fn given(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(b"Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
    });
    bearer.chain(headers.get_all("x-api-key").iter().map(|value| value.as_bytes().trim_ascii()))
}

/// All keys are compared to their ends: how long that takes tells nothing but how long they are.
fn is_one_of(key: &[u8], keys: &[String]) -> bool {
    keys.iter().fold(false, |found, known| found | bool::from(known.as_bytes().ct_eq(key)))
}
