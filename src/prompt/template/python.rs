//! What chat templates expect of Python: its string methods, and the functions Hugging Face adds.

use jiff::ZonedDateTime;
use jiff::fmt::strtime::{BrokenDownTime, Config};
use minijinja::value::{Tuple, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::json;
use crate::prompt::marks;

/// The filter in place of a slice.
pub(super) const SLICE: &str = "__slice";
/// The filter in place of `%` behind a string.
pub(super) const PERCENT: &str = "__percent";

/// A longer pattern is no date.
const MAX_PATTERN_BYTES: usize = 128;

pub(super) fn install(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(method);
    environment.add_function("raise_exception", raise);
    environment.add_filter("tojson", json::filter);
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_filter("escape", escape);
    environment.add_filter("e", escape);
    environment.add_filter(SLICE, slice);
    environment.add_filter(PERCENT, percent);
    // To Python, `none` is not.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    // It prints the whole state.
    environment.remove_global("debug");
}

/// The template refuses the conversation.
fn raise(message: &str) -> Result<Value, Error> {
    Err(invalid(message))
}

/// `strftime_now(pattern)`: the hour of `now`, wherever in the template it is asked for.
pub(super) fn strftime(now: ZonedDateTime) -> Value {
    Value::from_function(move |pattern: &str| {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(invalid(format!("strftime_now: the pattern has more than {MAX_PATTERN_BYTES} bytes")));
        }
        // Like C's strftime, which leaves what it does not know as it stands.
        let config = Config::new().lenient(true);
        BrokenDownTime::from(&now)
            .to_string_with_config(&config, pattern)
            .map_err(|error| invalid(format!("strftime_now: {error}")))
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
        | "find" | "rfind"
            if marks::is_marked(text) =>
        {
            unknown_method_callback(state, &marks::bare(text).into(), name, args)
        }
        "lstrip" | "rstrip" | "strip" if marks::is_marked(text) && !args.is_empty() => {
            let bare = Value::from(marks::bare(text));
            let mut n_left =
                |name| unknown_method_callback(state, &bare, name, args).map(|left| left.len().unwrap_or(0));
            let n = bare.len().unwrap_or(0);
            let start = if name == "rstrip" { 0 } else { n - n_left("lstrip")? };
            let end = if name == "lstrip" { n } else { n_left("rstrip")? };
            Ok(marks::picked(text, |_| (start..end).collect()).into())
        }
        "removeprefix" | "removesuffix" => {
            let (what,): (&str,) = from_args(args)?;
            let (bare, n) = (marks::bare(text), what.chars().count());
            Ok(match name {
                "removeprefix" if bare.starts_with(what) => marks::picked(text, |all| (n..all).collect()).into(),
                "removesuffix" if bare.ends_with(what) => marks::picked(text, |all| (0..all - n).collect()).into(),
                _ => value.clone(),
            })
        }
        "partition" | "rpartition" => {
            let (what,): (&str,) = from_args(args)?;
            let first = name == "partition";
            let parts = if first { text.split_once(what) } else { text.rsplit_once(what) };
            let none = if first { (text, "", "") } else { ("", "", text) };
            let (a, b, c) = parts.map_or(none, |(before, after)| (before, what, after));
            Ok(Tuple::from([a, b, c].map(Value::from)).into())
        }
        "rsplit" => {
            let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
            rsplit(text, separator, most.and_then(|most| usize::try_from(most).ok()))
        }
        // Widths are written without being paid for.
        "format" if has_width(text) => Err(invalid("format: the width is too large")),
        _ => unknown_method_callback(state, value, name, args),
    }
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why.into())
}

/// Python's `rsplit`: `most` splits from the end, at white space where there is no separator.
fn rsplit(text: &str, separator: Option<&str>, most: Option<usize>) -> Result<Value, Error> {
    let most = most.unwrap_or(usize::MAX);
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = Some(if separator.is_none() { text.trim_end() } else { text });
    while let Some(text) = rest {
        let split = match separator {
            Some("") => return Err(invalid("rsplit: the separator is empty")),
            _ if parts.len() == most => None,
            Some(separator) => text.rsplit_once(separator),
            None => text.rsplit_once(char::is_whitespace).map(|(before, part)| (before.trim_end(), part)),
        };
        let (before, part) = split.map_or((None, text), |(before, part)| (Some(before), part));
        parts.push(part);
        rest = before.filter(|before| separator.is_some() || !before.is_empty());
    }
    parts.retain(|part| separator.is_some() || !part.is_empty());
    Ok(parts.into_iter().rev().map(Value::from).collect())
}

/// `value[start:stop:step]` of a list or string, whose marks do not count and stay.
#[allow(clippy::needless_pass_by_value, reason = "the engine hands its arguments over")]
fn slice(
    state: &State,
    value: Value,
    start: Option<i64>,
    stop: Option<i64>,
    step: Option<i64>,
) -> Result<Value, Error> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(invalid("the step of a slice is 0"));
    }
    let places = |n: usize| {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
        let place = |x: Option<i64>, missing: i64| {
            x.map_or(missing, |x| if x < 0 { x.saturating_add(n) } else { x }.clamp(low, high))
        };
        let (first, last) = if step > 0 { (low, high) } else { (high, low) };
        let (start, stop) = (place(start, first), place(stop, last));
        let next = |at: &i64| at.checked_add(step);
        let places = std::iter::successors(Some(start), next);
        let places = places.take_while(|&at| if step > 0 { at < stop } else { at > stop });
        places.map(|at| at as usize).collect::<Vec<_>>()
    };
    if let Some(text) = value.as_str() {
        state.consume_fuel(text.len() as u64 / 16)?;
        return Ok(marks::picked(text, places).into());
    }
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Err(invalid(format!("a {} cannot be sliced", value.kind())));
    }
    let items = value.try_iter()?.map(|item| state.consume_fuel(1).map(|()| item)).collect::<Result<Vec<_>, _>>()?;
    let picked: Vec<_> = places(items.len()).into_iter().map(|n| items[n].clone()).collect();
    Ok(if value.is_tuple() { Tuple::from(picked).into() } else { picked.into() })
}

/// `format % operand`: the items of a tuple are the values to write.
#[allow(clippy::needless_pass_by_value, reason = "the engine hands its arguments over")]
fn percent(state: &mut State, format: Value, operand: Value) -> Result<Value, Error> {
    let mut args = vec![format];
    if operand.is_tuple() {
        args.extend(operand.try_iter()?);
    } else {
        args.push(operand);
    }
    state.apply_filter("format", &args)
}

/// `escape` as Python's `markupsafe` writes it.
#[allow(clippy::needless_pass_by_value, reason = "the engine hands its arguments over")]
fn escape(value: Value) -> Value {
    if value.is_safe() {
        return value;
    }
    let text = value.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Value::from_safe_string(text.replace('\'', "&#39;").replace('"', "&#34;"))
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
        None => value.len().ok_or_else(|| invalid(format!("cannot calculate the length of a {}", value.kind()))),
    }
}
