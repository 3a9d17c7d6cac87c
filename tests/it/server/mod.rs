//! The server as clients meet it, over HTTP.

mod chat;
mod completions;
mod llama_server;
mod models;
mod native;
mod steering;
