//! The server as clients meet it, over HTTP.

mod chat;
mod completions;
mod faults;
mod models;
mod safety;
mod steering;
