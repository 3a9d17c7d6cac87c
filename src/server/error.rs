//! What is answered when a request fails. No other file knows HTTP's statuses for errors.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::generate::event::{Failure, Kind};
use crate::parameter::OutOfRange;

/// Seconds after which a server that was too busy may be asked again.
const RETRY_AFTER: u32 = 1;
/// Bytes of a message, and of a field's name, before they are cut.
const MAX_MESSAGE: usize = 1024;
const MAX_PARAM: usize = 128;

/// Why a request failed: `{"error": {"message", "type", "param", "code"}}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    /// The field that is at fault.
    param: Option<String>,
}

/// What clients tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request asks for what cannot be.
    Invalid,
    /// It asks for what this server does not do.
    Unsupported,
    /// Prompt and answer do not fit into the context.
    ContextLength,
    Unauthorized,
    /// It comes from a page that may not ask.
    Forbidden,
    NoSuchModel,
    NoSuchPath,
    /// No text of it is being written.
    NoSuchReply,
    WrongMethod,
    /// This route was not switched on.
    Disabled,
    TooLarge,
    TooSlow,
    Busy,
    /// Loading, restarting or ending.
    Unavailable,
    Internal,
}

impl ErrorKind {
    /// Status, `type` and `code`, as llama-server and `OpenAI` name them.
    fn names(self) -> (StatusCode, &'static str, Option<&'static str>) {
        use ErrorKind as K;
        let (status, kind, code) = match self {
            K::Invalid => (StatusCode::BAD_REQUEST, "invalid_request_error", ""),
            K::Unsupported => (StatusCode::BAD_REQUEST, "invalid_request_error", "unsupported_parameter"),
            K::ContextLength => (StatusCode::BAD_REQUEST, "exceed_context_size_error", "context_length_exceeded"),
            K::Unauthorized => (StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key"),
            K::Forbidden => (StatusCode::FORBIDDEN, "permission_error", ""),
            K::NoSuchModel => (StatusCode::NOT_FOUND, "not_found_error", "model_not_found"),
            K::NoSuchPath | K::NoSuchReply => (StatusCode::NOT_FOUND, "not_found_error", ""),
            K::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", ""),
            K::Disabled => (StatusCode::NOT_IMPLEMENTED, "not_supported_error", ""),
            K::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", "request_too_large"),
            K::TooSlow => (StatusCode::REQUEST_TIMEOUT, "invalid_request_error", "request_timeout"),
            K::Busy => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded"),
            K::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", ""),
            K::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", ""),
        };
        (status, kind, Some(code).filter(|code| !code.is_empty()))
    }
}

impl Error {
    /// However much of a request is quoted in it, the message stays short.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: shortened(message.into(), MAX_MESSAGE), param: None }
    }

    /// A field whose value cannot be; the message begins with its name.
    pub fn field(name: &str, message: impl std::fmt::Display) -> Self {
        Self {
            param: Some(shortened(name.to_owned(), MAX_PARAM)),
            ..Self::new(ErrorKind::Invalid, format!("`{name}`: {message}"))
        }
    }

    /// A field that asks for what is not done here.
    pub fn unsupported(name: &str, hint: impl std::fmt::Display) -> Self {
        let message = format!("`{name}` is not supported: {hint}");
        Self { param: Some(shortened(name.to_owned(), MAX_PARAM)), ..Self::new(ErrorKind::Unsupported, message) }
    }

    /// An ensemble that is served and of which the engine knows nothing.
    #[must_use]
    pub fn no_facts() -> Self {
        Self::new(ErrorKind::Internal, "the engine has no such ensemble")
    }

    /// The same of a field that the request has under another name.
    #[must_use]
    pub fn called(mut self, names: &[(&str, &str)]) -> Self {
        let is_it = |(known, _): &&(&str, &str)| self.param.as_deref() == Some(*known);
        if let Some((known, sent)) = names.iter().find(is_it) {
            self.message = self.message.replacen(&format!("`{known}`"), &format!("`{sent}`"), 1);
            self.param = Some((*sent).to_owned());
        }
        self
    }

    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is in the body of `OpenAI`'s dialect, and in an error event of a stream.
    #[must_use]
    pub fn json(&self) -> Value {
        let (_, kind, code) = self.kind.names();
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": code}})
    }

    /// The `type` alone.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.kind.names().1
    }

    /// The response with another body than `OpenAI`'s.
    pub fn respond(&self, body: Value) -> Response {
        let (status, ..) = self.kind.names();
        let mut response = (status, Json(body)).into_response();
        if matches!(self.kind, ErrorKind::Busy | ErrorKind::Unavailable) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        if self.kind == ErrorKind::Unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Error {
    /// The error travels with the response, so that the routes of another dialect can say it in theirs.
    fn into_response(self) -> Response {
        let mut response = self.respond(self.json());
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Failure> for Error {
    fn from(Failure { kind, message, hint }: Failure) -> Self {
        let kind = match kind {
            Kind::Request | Kind::Prompt => ErrorKind::Invalid,
            Kind::ContextLength => ErrorKind::ContextLength,
            Kind::Busy => ErrorKind::Busy,
            Kind::Unavailable => ErrorKind::Unavailable,
            Kind::Internal => ErrorKind::Internal,
        };
        let message = match hint {
            Some(hint) => format!("{message} ({hint})"),
            None => message,
        };
        Self::new(kind, message)
    }
}

impl From<OutOfRange> for Error {
    /// Under the name that the field has in a request.
    fn from(OutOfRange { name, value, expected, .. }: OutOfRange) -> Self {
        let field = match name {
            "temp" => "temperature".to_owned(),
            "typical" => "typical_p".to_owned(),
            "top-nsigma" => "top_n_sigma".to_owned(),
            "dynatemp-exp" => "dynatemp_exponent".to_owned(),
            "mirostat-ent" => "mirostat_tau".to_owned(),
            "mirostat-lr" => "mirostat_eta".to_owned(),
            "dry-sequence-breaker" => "dry_sequence_breakers".to_owned(),
            other => other.replace('-', "_"),
        };
        Self::field(&field, format!("{value}, expected {expected}"))
    }
}

/// A text without its middle where it is longer than `most` bytes: what was got stands in front, what was expected at the end.
fn shortened(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let front = (0..=most / 2).rev().find(is_boundary).unwrap_or(0);
    let back = (text.len() - most / 2..=text.len()).find(is_boundary).unwrap_or(text.len());
    format!("{} … {}", &text[..front], &text[back..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_much_is_quoted_a_message_stays_short() {
        let error = Error::field(&"é".repeat(1 << 20), format!("{}, expected a number", "é".repeat(1 << 20)));
        let body = error.json().to_string();
        assert!(body.len() < 2 * MAX_MESSAGE, "{}", body.len());
        assert!(error.message.starts_with("`éé") && error.message.ends_with("é, expected a number"), "{error}");
        assert_eq!(shortened("as it is".to_owned(), 8), "as it is");
    }
}
