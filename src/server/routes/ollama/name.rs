//! Model ids as Ollama writes names: with a tag.

use serde_json::Value;

use crate::server::app::App;
use crate::server::catalog::Model;
use crate::server::error::Error;
use crate::server::wire::completion::model_id;

/// The tag that clients put behind a name without one.
const LATEST: &str = ":latest";

/// The name that a model is listed by.
pub fn listed(model: Model<'_>) -> String {
    let id = model.id();
    if id.contains(':') { id } else { id + LATEST }
}

/// The model that a body names, with its tag or without.
pub fn find<'a>(app: &'a App, body: &Value) -> Result<Model<'a>, Error> {
    let name = model_id(body)?;
    app.catalog.find(name.map(|name| name.strip_suffix(LATEST).unwrap_or(name)))
}
