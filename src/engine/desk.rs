//! What can be asked beside the texts: how words become tokens, and what each role is given.
//!
//! Answers need models and lanes, and no context, so that nobody waits for a tick.

use serde::{Deserialize, Serialize};

use super::about::About;
use crate::contained::contained;
use crate::generate::event::{Failure, Kind};
use crate::generate::{Input, Request};
use crate::llama::Token;
use crate::llama::model::Model;
use crate::prompt::{Conversation, Piece};
use crate::recipe::View;
use crate::steer::error::in_lane;
use crate::steer::{Error, Loaded, Prompts, Role, Sampled};

/// A question about an ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// A text's tokens by a role's own ids: [`Reply::Tokens`]. `add_special` puts BOS in front where the model wants it;
    /// `parse_special` takes the names of control tokens for the tokens.
    Tokenise { ensemble: usize, role: Role, text: String, add_special: bool, parse_special: bool },
    /// What each of these tokens is, by a role's own ids: [`Reply::Tokens`].
    Spell { ensemble: usize, role: Role, tokens: Vec<Token> },
    /// The text of tokens, by a role's own ids: [`Reply::Text`]. Control tokens are written by their names, bytes that are
    /// no text as U+FFFD.
    Detokenise { ensemble: usize, role: Role, tokens: Vec<Token> },
    /// What every role that takes part is given of an input: [`Reply::Prompts`].
    Prompt { ensemble: usize, sampled: Sampled, input: Input, views: Vec<(Role, View)> },
    /// The text that a role sees of a conversation, through its template if it has one: [`Reply::Text`]. Tools are called as the text
    /// that is sampled so has it.
    Render { ensemble: usize, sampled: Sampled, role: Role, conversation: Conversation },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Tokens(Vec<Spelled>),
    Text(String),
    /// By each role's own ids, the base first.
    Prompts(Vec<(Role, Vec<Token>)>),
}

/// A token with its bytes, which may be a part of a character; of a control token its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spelled {
    pub id: Token,
    pub bytes: Vec<u8>,
}

/// Answers questions about ensembles.
#[derive(Debug, Clone)]
pub struct Desk(Vec<Loaded>);

impl Desk {
    /// For these ensembles, by their numbers in the engine.
    #[must_use]
    pub fn new(ensembles: Vec<Loaded>) -> Self {
        Self(ensembles)
    }

    /// Facts of each ensemble.
    #[must_use]
    pub fn about(&self) -> Vec<About> {
        self.0.iter().map(About::of).collect()
    }

    pub fn answer(&self, question: &Question) -> Result<Reply, Failure> {
        // Nobody else's concern, even where it is our mistake.
        contained(|| self.look_up(question)).unwrap_or_else(|reason| {
            let message = format!("the question was answered by a panic: {reason}");
            Err(Failure { kind: Kind::Internal, message, hint: None })
        })
    }

    /// The prompts of a request.
    pub(super) fn prompts(&self, ensemble: usize, request: &Request) -> Result<Prompts, Failure> {
        contained(|| Ok(request.prompts(self.ensemble(ensemble)?)?)).unwrap_or_else(|reason| {
            let message = format!("the prompt was read by a panic: {reason}");
            Err(Failure { kind: Kind::Internal, message, hint: None })
        })
    }

    fn look_up(&self, question: &Question) -> Result<Reply, Failure> {
        match question {
            Question::Tokenise { ensemble, role, text, add_special, parse_special } => {
                let model = model(self.ensemble(*ensemble)?, *role)?;
                let ids = model.tokenize_text(text, *add_special, *parse_special);
                Ok(Reply::Tokens(ids.and_then(|ids| one_by_one(model, &ids)).map_err(in_lane(*role))?))
            }
            Question::Spell { ensemble, role, tokens } => {
                let model = model(self.ensemble(*ensemble)?, *role)?;
                Ok(Reply::Tokens(one_by_one(model, tokens).map_err(in_lane(*role))?))
            }
            Question::Detokenise { ensemble, role, tokens } => {
                let bytes = spell(model(self.ensemble(*ensemble)?, *role)?, tokens).map_err(in_lane(*role))?;
                Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Question::Prompt { ensemble, sampled, input, views } => {
                let loaded = self.ensemble(*ensemble)?;
                let prompts = input.prompts(loaded, *sampled, views)?;
                let roles: Vec<Role> = match sampled {
                    Sampled::Steered => loaded.topology().roles().collect(),
                    Sampled::Alone(role) => vec![*role],
                };
                let given = |role: Role| Some((role, prompts.lane(loaded.lane(role)?).to_vec()));
                Ok(Reply::Prompts(roles.into_iter().filter_map(given).collect()))
            }
            Question::Render { ensemble, sampled, role, conversation } => {
                let loaded = self.ensemble(*ensemble)?;
                let lane = loaded.lane(*role).ok_or(Error::NoLane { role: *role })?;
                let style = loaded.call_style(*sampled)?;
                let pieces = loaded.lanes()[lane].view.render_as(conversation, style);
                let mut bytes = Vec::new();
                for piece in pieces.map_err(|source| Error::Prompt { role: *role, source })? {
                    match piece {
                        Piece::Template(text) | Piece::Content(text) | Piece::Raw(text) => {
                            bytes.extend_from_slice(text.as_bytes());
                        }
                        // They are by the base's ids.
                        Piece::Tokens(tokens) => {
                            bytes.append(&mut spell(loaded.model(0), &tokens).map_err(in_lane(*role))?);
                        }
                    }
                }
                Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
            }
        }
    }

    fn ensemble(&self, number: usize) -> Result<&Loaded, Failure> {
        self.0.get(number).ok_or_else(|| no_ensemble(number, self.0.len()))
    }
}

/// There are fewer ensembles than one that is asked for.
pub(super) fn no_ensemble(number: usize, n: usize) -> Failure {
    let message = format!("there is no ensemble {number}, only {n}");
    Failure { kind: Kind::Request, message, hint: None }
}

fn model(loaded: &Loaded, role: Role) -> Result<&Model, Error> {
    let lane = loaded.lane(role).ok_or(Error::NoLane { role })?;
    Ok(loaded.model(lane))
}

fn one_by_one(model: &Model, ids: &[Token]) -> Result<Vec<Spelled>, crate::llama::Error> {
    ids.iter().map(|&id| Ok(Spelled { id, bytes: spell(model, &[id])? })).collect()
}

/// The bytes of tokens, control tokens by their names.
fn spell(model: &Model, tokens: &[Token]) -> Result<Vec<u8>, crate::llama::Error> {
    let mut bytes = Vec::new();
    tokens.iter().try_for_each(|&token| model.append_named(token, &mut bytes))?;
    Ok(bytes)
}
