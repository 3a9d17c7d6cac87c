//! The server as clients meet it, over HTTP.

mod chat;
mod completions;
mod models;
mod steering;
