//! Errors for people: what, expected and got, and a `hint:` with the next step.

use std::ffi::OsString;
use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Error, Result};
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::terminal::say;
use super::{llama_cpp, spelling};
use crate::eval::TaskError;
use crate::eval::questions::RunError;
use crate::generate::Failure;
use crate::inspect::probe::Refused;
use crate::parameter::OutOfRange;
use crate::plain::plain;
use crate::{gguf, hub, llama, recipe, steer, text_file};

/// An error that knows the next step.
#[derive(Debug)]
struct WithHint {
    hint: String,
    source: Error,
}

impl fmt::Display for WithHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)
    }
}

impl std::error::Error for WithHint {}

/// Adds the next step to an error.
pub trait Hinted<T> {
    fn hint(self, hint: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<Error>> Hinted<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> Result<T> {
        self.map_err(|source| hinted(source, hint))
    }
}

/// An error with the next step.
pub fn hinted(source: impl Into<Error>, hint: impl Into<String>) -> Error {
    WithHint { hint: hint.into(), source: source.into() }.into()
}

/// How a shell tells that a program was ended by SIGPIPE, as other programs of a pipeline are.
const CLOSED_PIPE: u8 = 128 + 13;

/// Prints why a command failed. A reader that has closed the pipe has had enough: there is nothing to say, but what was
/// asked for was not done.
pub fn failure(error: &Error) -> ExitCode {
    let is_closed_pipe = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(is_closed_pipe) {
        return ExitCode::from(CLOSED_PIPE);
    }
    if error.downcast_ref().is_some_and(steer::Error::is_cancelled)
        || error.downcast_ref().is_some_and(Refused::is_cancelled)
        || super::download::is_cancelled(error)
    {
        return ExitCode::from(130);
    }
    tell(error);
    ExitCode::from(if is_bad_usage(error) { 2 } else { 1 })
}

/// Prints an error with its hint.
pub fn tell(error: &Error) {
    // Every message holds what its source said.
    say!("error: {error}");
    if let Some(hint) = hint(error) {
        say!("hint: {hint}");
    }
}

/// Prints why llama.cpp ends the process. stdout is not touched: whoever writes to it waits for llama.cpp, and holds it.
pub fn gave_up(error: &llama::Error) {
    if std::io::stderr().is_terminal() {
        // A text or a bar stands on the same line.
        say!("");
    }
    say!("error: {error}");
    if let Some(hint) = error.hint() {
        say!("hint: {hint}");
    }
}

/// Options that make no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadUsage(pub String);

/// A value that was typed wrong, and not a file or a computation.
fn is_bad_usage(error: &Error) -> bool {
    if let Some(WithHint { source, .. }) = error.downcast_ref() {
        return is_bad_usage(source);
    }
    error.is::<BadUsage>()
        || error.is::<OutOfRange>()
        || error.downcast_ref().is_some_and(recipe::Error::is_usage)
        || error.downcast_ref().is_some_and(hub::Error::is_usage)
        || error.downcast_ref().is_some_and(llama::Error::is_usage)
        || error.downcast_ref().is_some_and(steer::Error::is_usage)
        || error.downcast_ref().is_some_and(Failure::is_usage)
        || task_error(error).is_some_and(TaskError::is_usage)
}

fn hint(error: &Error) -> Option<String> {
    if let Some(WithHint { hint, .. }) = error.downcast_ref() {
        return Some(hint.clone());
    }
    let fixed = error
        .downcast_ref()
        .and_then(steer::Error::hint)
        .or_else(|| error.downcast_ref().and_then(llama::Error::hint))
        .or_else(|| error.downcast_ref().and_then(gguf::Error::hint))
        .or_else(|| error.downcast_ref().and_then(Refused::hint))
        .or_else(|| error.downcast_ref().map(text_file::Error::hint));
    fixed
        .map(str::to_owned)
        .or_else(|| error.downcast_ref().and_then(hub::Error::hint))
        .or_else(|| error.downcast_ref().and_then(recipe::Error::hint))
        .or_else(|| error.downcast_ref::<Failure>()?.hint.clone())
        .or_else(|| task_error(error)?.hint())
        .or_else(|| match error.downcast_ref()? {
            RunError::Item { failure, .. } => failure.hint.clone(),
            RunError::Given { source, .. } => source.hint().map(str::to_owned),
            _ => None,
        })
}

/// What is wrong with a task, told by itself or while it ran.
fn task_error(error: &Error) -> Option<&TaskError> {
    match error.downcast_ref() {
        Some(RunError::Results(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// Prints what clap found wrong with what was `typed`, or the help that was asked for.
pub fn usage(error: &clap::Error, typed: &[OsString]) -> ExitCode {
    let option = match error.get(ContextKind::InvalidArg) {
        // With the name of its value behind it.
        Some(ContextValue::String(arg)) => arg.split(' ').next(),
        _ => None,
    };
    let unknown = option.filter(|_| error.kind() == ErrorKind::UnknownArgument);
    let advice = option.and_then(llama_cpp::refusal);
    if let (Some(long), Some(advice)) = (unknown, advice) {
        let was_typed = |(short, l): &&(&str, &str)| *l == long && typed.iter().any(|arg| arg == *short);
        let shown = spelling::TABLE.iter().find(was_typed).map_or(long, |(short, _)| *short);
        say!("error: `{shown}` is an option of llama.cpp that this command of proxytune does not have");
        say!("hint: {advice}");
        return ExitCode::from(2);
    }
    // clap quotes what was typed as it is, among colours of its own: they are left out where a terminal could not tell.
    let is_plain = |arg: &OsString| plain(&arg.to_string_lossy()) == arg.to_string_lossy();
    if typed.iter().all(is_plain) {
        let _ = error.print();
    } else {
        say!("{}", error.to_string().trim_end());
    }
    if let Some(advice) = advice.filter(|_| error.kind() == ErrorKind::InvalidValue) {
        say!("hint: {advice}");
    }
    if unknown.is_some() && typed.get(1).is_some_and(|first| first.to_string_lossy().starts_with('-')) {
        say!("hint: a command comes first, as in `proxytune generate -p TEXT` or `proxytune chat`");
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
