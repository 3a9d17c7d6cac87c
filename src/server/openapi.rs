//! The `OpenAPI` document: made from the routes themselves.

use std::sync::Arc;

use axum::Json;
use axum::routing::{MethodRouter, get};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::app::App;

#[derive(OpenApi)]
#[openapi(info(
    title = "proxytune",
    description = "Steered text from GGUF models: OpenAI's, llama.cpp's, Anthropic's and Ollama's APIs."
))]
struct Base;

/// The document without routes.
pub fn base() -> Document {
    Base::openapi()
}

/// `GET /openapi.json`
pub fn route(document: Document) -> MethodRouter<Arc<App>> {
    get(async move || Json(document.clone()))
}
