//! The body of a request: JSON, within limits of size and time.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::app::App;
use super::error::{Error, ErrorKind};

/// A body that is a JSON object. What is in it is read with [`read`].
pub struct Object(pub Value);

impl FromRequest<Arc<App>> for Object {
    type Rejection = Error;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Error> {
        let bytes = bytes(request.into_body(), app).await?;
        let value = parse(&bytes)?;
        match value {
            Value::Object(_) => Ok(Self(value)),
            _ => Err(Error::new(ErrorKind::Invalid, "the body is no JSON object")),
        }
    }
}

async fn bytes(body: Body, app: &App) -> Result<Vec<u8>, Error> {
    let limit = app.settings.max_body_bytes;
    let collected = tokio::time::timeout(app.settings.read_timeout, Limited::new(body, limit).collect()).await;
    match collected {
        Err(_) => {
            let seconds = app.settings.read_timeout.as_secs();
            Err(Error::new(ErrorKind::TooSlow, format!("the body was not here within {seconds} s")))
        }
        Ok(Err(error)) if is_too_long(&*error) => {
            Err(Error::new(ErrorKind::TooLarge, format!("the body has more than the {limit} bytes that are read")))
        }
        Ok(Err(error)) => Err(Error::new(ErrorKind::Invalid, format!("the body cannot be read: {error}"))),
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
    }
}

/// axum wraps what went wrong.
fn is_too_long(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(|source| source.is::<LengthLimitError>())
}

fn parse(bytes: &[u8]) -> Result<Value, Error> {
    if bytes.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "the body is empty, expected a JSON object"));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("the body is no JSON: {error}")))
}

/// Reads what a wire type knows of an object; other fields are left alone. An error names the field.
pub fn read<T: DeserializeOwned>(object: &Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(object).map_err(|error| {
        let path = error.path().to_string();
        if path == "." {
            return Error::new(ErrorKind::Invalid, error.into_inner().to_string());
        }
        Error::field(&path, error.inner())
    })
}
