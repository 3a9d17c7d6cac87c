//! `GET /slots`: what the slots do. Nobody's text is in it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use crate::engine::SlotHealth;
use crate::server::app::App;
use crate::server::error::{Error, ErrorKind};

/// Every slot, those at work first. Counts of prompts are of all roles together.
#[utoipa::path(
    get, path = "/slots", tag = "llama.cpp", params(("fail_on_no_slot" = Option<String>, Query, description = "503 where no slot is free")),
    responses((status = 200, description = "A list", body = Object), (status = 501, description = "Not switched on", body = Object), (status = 503, description = "No slot is free, or nothing is loaded yet", body = Object))
)]
pub async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Error> {
    if !app.settings.slots {
        return Err(Error::new(ErrorKind::Disabled, "this server was started with --no-slots"));
    }
    let all = app.about()?;
    let health = app.engine.health();
    let n_free = app.n_slots().saturating_sub(health.slots.len());
    if n_free == 0 && query.iter().any(|(name, value)| name == "fail_on_no_slot" && !value.is_empty()) {
        return Err(Error::new(ErrorKind::Unavailable, "no slot is free"));
    }
    let n_ctx = |ensemble: usize| all.get(ensemble).map(|about| about.n_ctx);
    let at_work = |(i, slot): (usize, &SlotHealth)| {
        json!({
            "id": i, "id_task": slot.id, "n_ctx": n_ctx(slot.ensemble), "is_processing": true, "speculative": false,
            "n_prompt_tokens": slot.n_prompt, "n_prompt_tokens_processed": slot.n_prompt_read,
            "next_token": [{"has_next_token": slot.is_writing, "n_decoded": slot.n_decoded}],
        })
    };
    let free = (health.slots.len()..app.n_slots())
        .map(|i| json!({"id": i, "n_ctx": n_ctx(0), "is_processing": false, "speculative": false}));
    Ok(Json(health.slots.iter().enumerate().map(at_work).chain(free).collect()))
}
