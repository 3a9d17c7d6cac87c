//! Which vocabulary a request for tokens is about.

use serde_json::Value;

use super::completion::model_id;
use crate::server::app::App;
use crate::server::catalog::Model;
use crate::server::error::Error;
use crate::steer::{Role, Sampled};

/// The ensemble and the role whose ids are meant: of a model by itself its own, else the base's.
pub fn vocabulary(app: &App, body: &Value) -> Result<(usize, Role), Error> {
    let model = app.catalog.find(model_id(body)?)?;
    Ok((model.served.ensemble, role_of(model)))
}

/// The role that tokens of a model's texts are chosen for.
pub fn role_of(model: Model<'_>) -> Role {
    if let Sampled::Alone(role) = model.sampled { role } else { Role::Base }
}
