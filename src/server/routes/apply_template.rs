//! `POST /apply-template`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::engine::Question;
use crate::server::app::App;
use crate::server::body::{Object, blocking, read};
use crate::server::error::Error;
use crate::server::questions::text;
use crate::server::wire::completion::model_id;
use crate::server::wire::messages::{MessageField, conversation, refuse_of_template};
use crate::steer::{Role, Sampled};

/// A conversation whose prompt is asked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TemplateRequest {
    pub model: Option<String>,
    pub messages: Vec<MessageField>,
}

/// The text that a model is given of a conversation. `roles` has the prompt of each role; `prompt` is that of the role that
/// tokens are chosen for.
#[utoipa::path(
    post, path = "/apply-template", tag = "llama.cpp", request_body = TemplateRequest,
    responses((status = 200, description = "`prompt`", body = Object), (status = "4XX", body = Object))
)]
pub async fn create(State(app): State<Arc<App>>, Object(body): Object) -> Result<Json<Value>, Error> {
    let TemplateRequest { messages, .. } = read(&body)?;
    refuse_of_template(&body, &messages)?;
    let model = app.catalog.find(model_id(&body)?)?;
    let conversation = conversation(&messages, model.served.defaults.system.as_ref())?;
    let (ensemble, sampled) = (model.served.ensemble, model.sampled);
    let roles: Vec<Role> = match model.sampled {
        Sampled::Alone(role) => vec![role],
        Sampled::Steered => {
            app.about()?.get(ensemble).into_iter().flat_map(|about| &about.roles).map(|about| about.role).collect()
        }
    };
    let app = app.clone();
    blocking(move || {
        let mut prompts = Map::new();
        let mut first = None;
        for role in roles {
            let conversation = conversation.clone();
            let seen = text(&app, Question::Render { ensemble, sampled, role, conversation })?;
            first.get_or_insert_with(|| seen.clone());
            prompts.insert(role.to_string(), json!(seen));
        }
        Ok(Json(json!({"prompt": first.unwrap_or_default(), "roles": prompts})))
    })
    .await
}
