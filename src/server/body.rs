//! The body of a request: JSON, within limits of size and time.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::app::App;
use super::error::{Error, ErrorKind};
use super::weight::Weight;

/// Bytes that take a while to be parsed.
const LONG: usize = 64 << 10;
/// The longest body may be asked for so often at once.
const MAX_COPIES: usize = 4;

/// A body that is a JSON object. What is in it is read with [`read`].
pub struct Object(pub Value);

impl FromRequest<Arc<App>> for Object {
    type Rejection = Error;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Error> {
        // On nothing but a connection there is no weight.
        let weight = request.extensions().get::<Weight>().cloned();
        let bytes = within(request.into_body(), app, weight.as_ref()).await?;
        let n_bytes = bytes.len();
        // Others are answered while a long one is read.
        let value = if n_bytes > LONG { blocking(move || parse(&bytes)).await? } else { parse(&bytes)? };
        match value {
            Value::Object(_) => refuse_copies(&value, n_bytes, app).map(|()| Self(value)),
            other => {
                let message = format!("the body is {}, expected a JSON object", kind(&other));
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }
}

/// What a value is, in JSON's words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

async fn within(body: Body, app: &App, weight: Option<&Weight>) -> Result<Vec<u8>, Error> {
    let patience = app.settings.read_timeout;
    let read = tokio::time::timeout(patience, bytes(body, app.settings.max_body_bytes, weight)).await;
    read.unwrap_or_else(|_| {
        let message = format!("the body was not here within {} s", patience.as_secs());
        Err(Error::new(ErrorKind::TooSlow, message))
    })
}

async fn bytes(mut body: Body, limit: usize, weight: Option<&Weight>) -> Result<Vec<u8>, Error> {
    // What a header announces, if one does; of a body in chunks nothing is known.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let too_long =
        || Error::new(ErrorKind::TooLarge, format!("the body has more than the {limit} bytes that are read"));
    if announced > limit {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Error::new(ErrorKind::Invalid, format!("the body cannot be read: {error}")))?;
        if let Some(data) = frame.data_ref() {
            let n = bytes.len() + data.len();
            if n > limit {
                return Err(too_long());
            }
            if weight.is_some_and(|weight| !weight.grow_to(n)) {
                return Err(Error::new(ErrorKind::Busy, "too many long bodies are being read (try again later)"));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<Value, Error> {
    if bytes.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "the body is empty, expected a JSON object"));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("the body is no JSON: {error}")))
}

/// Every text that is asked for is a request of its own, with a prompt of its own.
fn refuse_copies(body: &Value, n_bytes: usize, app: &App) -> Result<(), Error> {
    let n = body.get("n").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    let most = app.settings.max_body_bytes.saturating_mul(MAX_COPIES);
    if n > 1 && n.saturating_mul(n_bytes) > most {
        let message = format!("{n} texts of a request of {n_bytes} bytes, expected at most {most} bytes in all");
        return Err(Error::field("n", message));
    }
    Ok(())
}

/// Runs what may take long, or waits, beside the threads that serve connections.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, format!("a thread was lost: {error}"))))
}

/// Reads what a wire type knows of an object; other fields are left alone. An error names the field.
pub fn read<T: DeserializeOwned>(object: &Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(object).map_err(|error| {
        let (path, said) = (error.path().to_string(), error.inner().to_string());
        let missing = said.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        match (path.as_str(), missing) {
            (".", Some(name)) => Error::field(name, "it is missing"),
            (path, Some(name)) => Error::field(&format!("{path}.{name}"), "it is missing"),
            (".", None) => Error::new(ErrorKind::Invalid, said),
            (path, None) => Error::field(path, in_json(&said)),
        }
    })
}

/// What serde says in Rust's words, in those of JSON.
fn in_json(said: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("invalid type: sequence", "it is a list"),
        ("invalid type: map", "it is an object"),
        ("expected f32", "expected a number"),
        ("expected a sequence", "expected a list"),
        ("expected a boolean", "expected true or false"),
        ("expected a string", "expected a text"),
        ("invalid number", "the number is too large, or no whole one"),
    ];
    const WHOLE: [&str; 6] = ["i64", "i32", "u64", "u32", "u8", "usize"];
    if let Some((of_type, _)) = said.split_once("expected struct ") {
        return format!("{of_type}expected an object");
    }
    if let Some(kind) = WHOLE.iter().find(|kind| said.ends_with(&format!("expected {kind}"))) {
        return said.replace(&format!("expected {kind}"), "expected a whole number");
    }
    WORDS.iter().fold(said.to_owned(), |said, (rust, json)| said.replace(rust, json))
}
