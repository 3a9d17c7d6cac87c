//! The server as clients meet it, over HTTP.

#![allow(clippy::needless_pass_by_value, reason = "bodies are written where they are sent")]

mod chat;
mod completions;
mod faults;
mod llama_server;
mod load;
mod messages;
mod midway;
mod models;
mod native;
mod ollama;
mod page;
mod responses;
mod safety;
mod start;
mod steering;
mod tools;

use serde_json::Value;

use crate::server_process::Server;
use crate::trio::PROMPT;

/// The demo, greedy, with one slot of 512 tokens.
fn server() -> Server {
    Server::start(&["-R", "demo", "--temp", "0", "-c", "512", "-np", "1"])
}

/// An object with further fields.
fn with(mut object: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    object.as_object_mut().expect("an object").extend(more);
    object
}

/// What `generate` writes behind [`PROMPT`] for the same.
fn generated(n: usize) -> String {
    let n = n.to_string();
    let args =
        ["generate", "-R", "demo", "--temp", "0", "-c", "512", "-p", PROMPT, "-n", &n, "--json", "--draft", "off"];
    crate::command_line::json(&args)["text"].as_str().expect("a text").to_owned()
}
