//! What llama-server has and this server has not: told as llama-server tells of what was not switched on.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::routing::{get, post};
use serde_json::json;

use crate::server::app::App;
use crate::server::error::{Error, ErrorKind};

const ABSENT: [(&str, &str); 11] = [
    ("/embedding", EMBEDDINGS),
    ("/embeddings", EMBEDDINGS),
    ("/v1/embeddings", EMBEDDINGS),
    ("/rerank", RERANKING),
    ("/reranking", RERANKING),
    ("/v1/rerank", RERANKING),
    ("/v1/reranking", RERANKING),
    ("/audio/transcriptions", AUDIO),
    ("/v1/audio/transcriptions", AUDIO),
    ("/slots/{id}", "what a slot holds is not saved to files"),
    ("/v1/chat/completions/control", "answers are shown as they are written, thoughts and all"),
];
const EMBEDDINGS: &str = "this server writes texts, and computes no embeddings";
const RERANKING: &str = "this server writes texts, and ranks none";
const AUDIO: &str = "models are given text alone";

/// Adds them. They are not described: nothing can be done with them.
pub fn add(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let refuse = |why: &'static str| post(async move || Error::new(ErrorKind::Disabled, why));
    let router = ABSENT.into_iter().fold(router, |router, (path, why)| router.route(path, refuse(why)));
    let adapters = "adapters belong to a recipe, and hold for all its requests";
    router.route("/lora-adapters", get(async || Json(json!([]))).merge(refuse(adapters)))
}
