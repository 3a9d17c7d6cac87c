//! What the engine is asked beside texts. All of it waits for the answer: it belongs on a thread of
//! [`blocking`](super::body::blocking).

use super::app::App;
use super::error::{Error, ErrorKind};
use super::job::Job;
use crate::engine::desk::Spelled;
use crate::engine::{Question, Reply};
use crate::llama::Token;
use crate::steer::Role;

/// Tokens with what they spell.
pub fn tokens(app: &App, question: Question) -> Result<Vec<Spelled>, Error> {
    match app.engine.ask(question)? {
        Reply::Tokens(tokens) => Ok(tokens),
        other => Err(unexpected(&other)),
    }
}

/// A text.
pub fn text(app: &App, question: Question) -> Result<String, Error> {
    match app.engine.ask(question)? {
        Reply::Text(text) => Ok(text),
        other => Err(unexpected(&other)),
    }
}

/// The role that a job's tokens are chosen for, and what it is given by its own ids.
pub fn prompt(app: &App, Job { ensemble, request, .. }: Job) -> Result<(Role, Vec<Token>), Error> {
    let question = Question::Prompt { ensemble, sampled: request.sampled, input: request.input, views: request.views };
    match app.engine.ask(question)? {
        // It stands first.
        Reply::Prompts(mut prompts) if !prompts.is_empty() => Ok(prompts.swap_remove(0)),
        other => Err(unexpected(&other)),
    }
}

/// The tokens of words by a role's vocabulary; names of control tokens in them are text.
pub fn ids_of(app: &App, ensemble: usize, role: Role, words: &str) -> Result<Vec<Token>, Error> {
    let text = words.to_owned();
    let question = Question::Tokenise { ensemble, role, text, add_special: false, parse_special: false };
    Ok(tokens(app, question)?.into_iter().map(|token| token.id).collect())
}

/// The text of tokens, control tokens by their names.
pub fn spell(app: &App, ensemble: usize, role: Role, tokens: Vec<Token>) -> Result<String, Error> {
    text(app, Question::Detokenise { ensemble, role, tokens })
}

fn unexpected(got: &Reply) -> Error {
    Error::new(ErrorKind::Internal, format!("the engine answered another question: {got:?}"))
}
