//! `POST /infill`: what stands between two texts, with the model's own tokens for it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::native::{self, NativeFields};
use crate::engine::about::About;
use crate::generate::Input;
use crate::llama::Token;
use crate::prompt::Piece;
use crate::server::app::App;
use crate::server::body::{Object, blocking, read};
use crate::server::error::{Error, ErrorKind};
use crate::server::fill_in::{Gap, Order, Room};
use crate::server::questions::ids_of;
use crate::server::wire::completion::model_id;
use crate::server::wire::limits::LimitFields;
use crate::server::wire::sampling::SamplingFields;
use crate::server::wire::steering::SteeringFields;
use crate::steer::{Role, Sampled};

/// Most other files.
const MAX_EXTRA: usize = 256;

/// Two texts and what may stand around them.
#[derive(Debug, Serialize, ToSchema)]
pub struct InfillRequest {
    /// An id of `/v1/models`; without one the first.
    pub model: Option<String>,
    #[serde(flatten)]
    pub gap: GapFields,
    #[serde(flatten)]
    pub native: NativeFields,
    #[serde(flatten)]
    pub sampling: SamplingFields,
    #[serde(flatten)]
    pub limits: LimitFields,
    #[serde(flatten)]
    pub steering: SteeringFields,
}

/// The texts.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GapFields {
    pub input_prefix: String,
    pub input_suffix: String,
    /// Other files that belong to it.
    pub input_extra: Option<Vec<ExtraField>>,
    /// What the text between begins with.
    pub prompt: Option<String>,
}

/// Another file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExtraField {
    pub text: String,
    pub filename: Option<String>,
}

/// Writes what stands between two texts.
#[utoipa::path(
    post, path = "/infill", tag = "llama.cpp", request_body = InfillRequest,
    responses(
        (status = 200, description = "The text, or a stream of its tokens",
            content((Object = "application/json"), (String = "text/event-stream"))),
        (status = "4XX", body = Object), (status = 501, description = "The model has no tokens for it", body = Object)
    )
)]
pub async fn create(State(app): State<Arc<App>>, Object(body): Object) -> Result<Response, Error> {
    let model = app.catalog.find(model_id(&body)?)?;
    let all = app.about()?;
    let about = all.get(model.served.ensemble).ok_or_else(Error::no_facts)?;
    // The tokens for it are the base's.
    let is_bases = matches!(model.sampled, Sampled::Steered | Sampled::Alone(Role::Base));
    let order = if app.settings.spm_infill { Order::SuffixFirst } else { Order::PrefixFirst };
    let gap = if is_bases { Gap::of(&about.fill_in, bos(about), order) } else { None };
    let Some(gap) = gap else {
        let message = format!("{} has no tokens for prefix, suffix and middle to fill in with", model.id());
        return Err(Error::new(ErrorKind::Disabled, message));
    };
    let fields: GapFields = read(&body)?;
    let n_extra = fields.input_extra.as_ref().map_or(0, Vec::len);
    if n_extra > MAX_EXTRA {
        return Err(Error::field("input_extra", format!("{n_extra} files, expected at most {MAX_EXTRA}")));
    }
    let limits: LimitFields = read(&body)?;
    let room = Room::new(about.n_ctx, limits.n_predict(&model.served.defaults)?);
    let ensemble = model.served.ensemble;
    let app_ = app.clone();
    let tokens: Vec<Token> = blocking(move || {
        // Names of tokens in files are text.
        let text = |text: &str| ids_of(&app_, ensemble, Role::Base, text);
        let GapFields { input_prefix, input_suffix, input_extra, prompt } = &fields;
        let mut extra = Vec::new();
        for ExtraField { text: inside, filename } in input_extra.iter().flatten() {
            extra.push((text(&format!("{}\n", filename.as_deref().unwrap_or("tmp")))?, text(inside)?));
        }
        let around = gap.around(&text)?;
        let prompt = text(prompt.as_deref().unwrap_or_default())?;
        Ok(gap.prompt(room, &around, &extra, text(input_prefix)?, text(input_suffix)?, &prompt))
    })
    .await?;
    native::respond(&app, &body, vec![Input::Raw(vec![Piece::Tokens(tokens)])]).await
}

/// The token that its texts begin with.
fn bos(about: &About) -> Option<Token> {
    about.bos.as_ref().filter(|_| about.starts_with_bos).map(|bos| bos.id)
}
