//! A text whose base is on a server: what that cannot do, and how it draws where it does.

use std::sync::Arc;

use crate::generate::Request;
use crate::llama::Token;
use crate::remote;
use crate::steer::error::on_server;
use crate::steer::{Ensemble, Error, Role, Sampled, ServerDraw, Weights};

/// Penalties divide positive logits and multiply negative ones; what a server shows is negative throughout.
pub(super) fn note(ensemble: &Ensemble, request: &Request) -> Option<String> {
    let is_shown = ensemble.server().is_some_and(|server| !server.draws())
        && matches!(request.sampled, Sampled::Steered | Sampled::Alone(Role::Base));
    (is_shown && request.sampling.repeat_penalty != 1.0).then(|| {
        "--repeat-penalty works on log-probabilities where the base is on a server, and weighs more than on logits"
            .to_owned()
    })
}

/// How a server that holds the base is to draw, where it is one that does. Refused where it could not do what is asked.
pub(super) fn draw(
    ensemble: &Ensemble,
    request: &Request,
    weights: &Weights,
    has_form: bool,
    never: &[Token],
) -> Result<Option<Arc<ServerDraw>>, Error> {
    let is_of_base = matches!(request.sampled, Sampled::Steered | Sampled::Alone(Role::Base));
    if !is_of_base || !ensemble.server().is_some_and(|server| server.draws()) {
        return Ok(None);
    }
    let refused = |what: String| on_server(Role::Base)(remote::Error::NotExact { what });
    if let Some(what) = remote::not_exact(&request.sampling) {
        return Err(refused(what));
    }
    if has_form {
        return Err(refused("tools, schemas and other forms: they start again with every token there".to_owned()));
    }
    if request.prompt_probs.is_some() {
        return Err(refused("scores of a prompt: a server that samples tells one token".to_owned()));
    }
    ensemble.check_drawn(weights)?;
    let mut never = never.to_vec();
    never.sort_unstable();
    never.dedup();
    Ok(Some(Arc::new(ServerDraw { sampling: request.sampling.clone(), never })))
}
