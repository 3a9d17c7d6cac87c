//! Ollama's routes, as far as clients of a chat need them: `/api/version`, `/api/tags`, `/api/show` and `/api/chat`.

mod ask;
pub mod chat;
pub mod models;
mod name;
mod reply;
