//! A chat template: Jinja, set up as Hugging Face's `apply_chat_template` does.
//!
//! `gate` reads the source before the engine does (`lexer`, `words`) and writes parts of it anew (`expressions`), `python`
//! and `json` add what the templates expect of Python, `bounds` keeps values small, `render` finds the messages again in
//! what was written. `fields` and `expression` are the same engine for the items of a task.

mod bounds;
#[cfg(feature = "eval")]
pub mod expression;
mod expressions;
#[cfg(feature = "eval")]
pub mod fields;
mod gate;
mod json;
mod lexer;
mod python;
pub(super) mod render;
mod values;
mod words;

use std::fmt;

use jiff::ZonedDateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, context};

use self::values::Spoken;
use super::turns::Turn;
use super::{Call, Error, Toolbox};
use crate::contained::contained;

/// A longer source is no chat template.
const MAX_SOURCE_BYTES: usize = 256 << 10;

/// A render's budget; one unit pays for one instruction or 64 bytes of new text.
const FUEL: u64 = 30_000;
const FUEL_PER_MESSAGE: u64 = 1_000;
/// Templates copy a text a few times over.
const BYTES_PER_FUEL: u64 = 2;

const NAME: &str = "chat";

/// A compiled chat template and the special tokens that it may write.
pub struct Template {
    source: String,
    bos: String,
    eos: String,
    environment: Environment<'static>,
    takes_tools: bool,
    clock: fn() -> ZonedDateTime,
}

/// What a template is given.
#[derive(Clone, Copy)]
struct Given<'a> {
    turns: &'a [Turn<'a>],
    tools: Option<&'a Toolbox>,
    now: &'a ZonedDateTime,
}

impl Template {
    /// Compiles a template; `bos` and `eos` are the texts of the model's tokens, empty where it has none.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, Error> {
        let environment = compiled(source)?;
        let template = environment.get_template(NAME).map_err(|error| render_error(&error))?;
        let takes_tools = template.undeclared_variables(false).contains("tools");
        drop(template);
        Ok(Self {
            source: source.to_owned(),
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            environment,
            takes_tools,
            clock: ZonedDateTime::now,
        })
    }

    /// Whether it says of tools what there are.
    #[must_use]
    pub fn takes_tools(&self) -> bool {
        self.takes_tools
    }

    /// The same template with another clock behind `strftime_now`.
    #[cfg(test)]
    pub(super) fn with_clock(mut self, clock: fn() -> ZonedDateTime) -> Self {
        self.clock = clock;
        self
    }

    /// The Jinja source as it came in.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What the template writes for turns, a text for each, with the opening of the next answer behind them. `spoken` sees every
    /// text of tools and calls.
    fn write(&self, given: Given<'_>, texts: &[String], spoken: &mut Spoken) -> Result<String, Error> {
        let Given { turns, tools, now } = given;
        let n_bytes: usize = texts.iter().map(String::len).sum();
        let messages: Vec<_> = turns.iter().zip(texts).map(|(turn, text)| message(turn, text, spoken)).collect();
        let tools: Option<Vec<_>> =
            tools.map(|toolbox| toolbox.tools.iter().map(|tool| values::of(&tool.described(), spoken)).collect());
        let n_bytes = n_bytes + spoken.n_bytes();
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(FUEL + FUEL_PER_MESSAGE * turns.len() as u64 + n_bytes as u64 / BYTES_PER_FUEL));
        let context = context! {
            messages,
            add_generation_prompt => true,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            tools => tools,
            documents => (),
            strftime_now => python::strftime(now.clone()),
        };
        contained(|| environment.get_template(NAME).and_then(|template| template.render(context)))
            .map_err(panicked)?
            .map_err(|error| render_error(&error))
    }
}

/// A message as templates expect it.
fn message(turn: &Turn<'_>, text: &str, spoken: &mut Spoken) -> minijinja::Value {
    let mut fields = vec![("role", minijinja::Value::from(turn.speaker.name())), ("content", text.into())];
    let call = |(id, call): &(String, &Call)| {
        let arguments = serde_json::from_str(&call.arguments).unwrap_or_else(|_| call.arguments.as_str().into());
        let function = context! { name => call.name.as_str(), arguments => values::of(&arguments, spoken) };
        context! { id => id.as_str(), type => "function", function }
    };
    if !turn.calls.is_empty() {
        fields.push(("tool_calls", turn.calls.iter().map(call).collect::<Vec<_>>().into()));
    }
    if let Some((id, name)) = &turn.answers {
        fields.extend([("tool_call_id", id.as_str().into()), ("name", (*name).into())]);
    }
    minijinja::Value::from_pairs(fields)
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, &self.bos, &self.eos) == (&other.source, &other.bos, &other.eos)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("source", &self.source)
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .finish_non_exhaustive()
    }
}

/// An environment with a source that passed the gate, under [`NAME`].
fn compiled(source: &str) -> Result<Environment<'static>, Error> {
    if source.len() > MAX_SOURCE_BYTES {
        let reason = format!("it has {} bytes, expected at most {MAX_SOURCE_BYTES}", source.len());
        return Err(Error::Syntax { line: 1, reason });
    }
    // As Python reads it.
    let lines = source.replace("\r\n", "\n").replace('\r', "\n");
    let guarded = gate::guard(&lines)?;
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| syntax_error(&error))?);
    python::install(&mut environment);
    bounds::install(&mut environment);
    // The engine computes what is constant, and panics where that cannot be.
    contained(|| environment.add_template_owned(NAME, guarded))
        .map_err(panicked)?
        .map_err(|error| syntax_error(&error))?;
    Ok(environment)
}

fn syntax_error(error: &minijinja::Error) -> Error {
    Error::Syntax { line: error.line().unwrap_or(1), reason: reason(error) }
}

fn render_error(error: &minijinja::Error) -> Error {
    match error.kind() {
        ErrorKind::OutOfFuel => Error::Work,
        _ => Error::Render { line: error.line(), reason: super::marks::bare(&reason(error)) },
    }
}

/// The engine panics where Python raises an error: a division by zero, a number out of range.
fn panicked(reason: String) -> Error {
    Error::Render { line: None, reason }
}

fn reason(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}
