//! Errors for people: what, expected and got, and a `hint:` with the next step.

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use anyhow::{Error, Result};
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::spelling;
use super::terminal::say;
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
        self.map_err(|source| WithHint { hint: hint.into(), source: source.into() }.into())
    }
}

/// Prints why a command failed. A closed pipe is no failure: the reader has had enough.
pub fn failure(error: &Error) -> ExitCode {
    let is_closed_pipe = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(is_closed_pipe) {
        return ExitCode::SUCCESS;
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
}

/// llama.cpp's options that proxytune does not have, with what to do instead.
pub const NOT_HERE: [(&str, &str); 51] = [
    ("--interactive", "`proxytune chat` holds a conversation"),
    ("--simple-io", "leave it out: without a terminal lines are read as they are"),
    ("--perf", "--json has timings"),
    ("--no-perf", "leave it out: timings are in --json alone"),
    ("--log-disable", "leave it out: llama.cpp's messages are shown with -v alone"),
    ("--numa", "start the program with numactl"),
    ("--in-prefix", "a chat template puts its own words around messages: --expert-template model or a file"),
    ("--in-suffix", "a chat template puts its own words around messages: --expert-template model or a file"),
    ("--prompt-cache", "leave it out: prompts are not kept between runs"),
    ("--verbose-prompt", "--json has the tokens that each role was given"),
    ("--rope-scaling", "change the file with llama.cpp's gguf-py"),
    ("--rope-freq-base", "change the file with llama.cpp's gguf-py"),
    ("--model-url", "name the repository with -hf, or download the file and name it with -m"),
    ("--model-draft", "the small models are named with -me and -ma"),
    ("--threads-batch", "-t sets the threads of every model, for prompts and tokens alike"),
    ("--override-tensor", "-ngl and -dev place whole layers"),
    ("--cpu-moe", "-ngl and -dev place whole layers"),
    ("--n-cpu-moe", "-ngl and -dev place whole layers"),
    ("--parallel", "one text is generated at a time; the library's engine runs several"),
    ("--conversation", "`proxytune chat` holds a conversation"),
    ("--no-conversation", "leave it out: `proxytune generate` answers one prompt"),
    ("--single-turn", "leave it out: `proxytune generate` answers one prompt"),
    ("--chat-template", "--base-template, --expert-template and --antiexpert-template take plain, model or a file"),
    (
        "--chat-template-file",
        "--base-template, --expert-template and --antiexpert-template take plain, model or a file",
    ),
    ("--chat-template-kwargs", "templates are given the messages alone"),
    ("--jinja", "leave it out: templates are Jinja; --expert-template plain does without"),
    ("--no-jinja", "--expert-template plain does without a template"),
    ("--fit", "-c and -ngl say what goes where"),
    ("--verbosity", "-v shows llama.cpp's messages"),
    ("--list-devices", "`proxytune devices` lists them"),
    ("--color", "`proxytune compare` colours what steering changed"),
    ("--special", "control tokens are not shown; --json has their ids"),
    ("--keep", "the context is not shifted: the text ends when it is full"),
    ("--context-shift", "the context is not shifted: the text ends when it is full"),
    ("--no-context-shift", "leave it out: the context is not shifted"),
    ("--warmup", "leave it out: there is no warm-up run"),
    ("--no-warmup", "leave it out: there is no warm-up run"),
    ("--override-kv", "change the file with llama.cpp's gguf-py"),
    ("--cont-batching", "leave it out: one text is generated at a time"),
    ("--binary-file", "prompts are text: -f FILE"),
    ("--draft-min", "leave it out: --draft auto drafts as far as it pays, --draft N as far as it goes"),
    ("--spec-draft-n-min", "leave it out: --draft auto drafts as far as it pays, --draft N as far as it goes"),
    ("--spec-type", "--drafter says who drafts: lookup, expert, base"),
    ("--threads-draft", "-t sets the threads of every model"),
    ("--cache-ram", "leave it out: prompts are not kept between runs"),
    ("--cpu-mask", "-t sets the number of threads"),
    ("--cfg-negative-prompt", "-me base -ma base --antiexpert-prompt TEXT --alpha N steers away from a prompt"),
    ("--cfg-scale", "-me base -ma base --antiexpert-prompt TEXT --alpha N: a scale of γ is an α of γ − 1"),
    ("--no-kv-unified", "leave it out: one text is generated at a time"),
    ("--multiline-input", "leave it out: a line that ends with \\ goes on in the next one"),
    ("--backend-sampling", "the stage runs on the CPU, and so does the chain around it"),
];

/// Prints what clap found wrong with what was `typed`, or the help that was asked for.
pub fn usage(error: &clap::Error, typed: &[OsString]) -> ExitCode {
    let unknown = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(arg))) => Some(arg.as_str()),
        _ => None,
    };
    if let Some((long, advice)) = NOT_HERE.iter().find(|(long, _)| unknown == Some(*long)) {
        let was_typed = |(short, l): &&(&str, &str)| l == long && typed.iter().any(|arg| arg == *short);
        let shown = spelling::TABLE.iter().find(was_typed).map_or(*long, |(short, _)| *short);
        say!("error: `{shown}` is an option of llama.cpp that proxytune does not have");
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
    if unknown.is_some() && typed.get(1).is_some_and(|first| first.to_string_lossy().starts_with('-')) {
        say!("hint: a command comes first, as in `proxytune generate -p TEXT` or `proxytune chat`");
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
