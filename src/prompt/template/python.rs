//! What chat templates expect of Python: its string methods, and the functions Hugging Face adds.

use jiff::ZonedDateTime;
use jiff::fmt::strtime::{BrokenDownTime, Config};
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::json;
use crate::prompt::marks;

/// A longer pattern is no date.
const MAX_PATTERN_BYTES: usize = 128;

pub(super) fn install(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(method);
    environment.add_function("raise_exception", raise);
    environment.add_filter("tojson", json::filter);
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    // To Python, `none` is not.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    // It prints the whole state.
    environment.remove_global("debug");
}

/// The template refuses the conversation.
fn raise(message: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_owned()))
}

/// `strftime_now(pattern)`: the hour of `now`, wherever in the template it is asked for.
pub(super) fn strftime(now: ZonedDateTime) -> Value {
    Value::from_function(move |pattern: &str| {
        let invalid = |why: String| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {why}"));
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(invalid(format!("the pattern has more than {MAX_PATTERN_BYTES} bytes")));
        }
        // Like C's strftime, which leaves what it does not know as it stands.
        let config = Config::new().lenient(true);
        BrokenDownTime::from(&now).to_string_with_config(&config, pattern).map_err(|error| invalid(error.to_string()))
    })
}

/// Methods of strings, lists and dicts. What a string is asked about itself, it answers without its marks.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return unknown_method_callback(state, value, name, args);
    };
    state.consume_fuel(1 + text.len() as u64 / 64)?;
    match name {
        "startswith" | "endswith" | "isalnum" | "isalpha" | "isascii" | "isdigit" | "isnumeric" | "isspace"
            if marks::is_marked(text) =>
        {
            unknown_method_callback(state, &marks::bare(text).into(), name, args)
        }
        // Widths are written without being paid for.
        "format" if has_width(text) => Err(Error::new(ErrorKind::InvalidOperation, "format: the width is too large")),
        _ => unknown_method_callback(state, value, name, args),
    }
}

/// Whether a format names a width beyond three digits.
fn has_width(format: &str) -> bool {
    format.as_bytes().windows(4).any(|bytes| bytes.iter().all(u8::is_ascii_digit))
}

/// `length`, not counting marks.
fn length(value: &Value) -> Result<usize, Error> {
    match value.as_str() {
        Some(text) => Ok(marks::bare_len(text)),
        None if value.kind() == ValueKind::Undefined => Ok(0),
        None => value.len().ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("cannot calculate the length of a {}", value.kind()))
        }),
    }
}
