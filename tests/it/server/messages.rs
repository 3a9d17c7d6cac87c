//! `/v1/messages`

use serde_json::{Value, json};

use super::{generated, with};
use crate::server_process::{Reply, Server};
use crate::trio::PROMPT;

fn body(more: Value) -> Value {
    let body = json!({"model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": PROMPT}]});
    with(body, more)
}

/// Type and message of an error in Anthropic's shape.
fn error(reply: &Reply, status: u16) -> (String, String) {
    assert_eq!(reply.status, status, "{reply:?}");
    let body = reply.json();
    assert_eq!(body["type"], "error", "{reply:?}");
    let text = |name: &str| body["error"][name].as_str().expect("a text").to_owned();
    (text("type"), text("message"))
}

#[test]
fn an_answer_is_what_generate_writes_whole_or_in_a_stream() {
    let server = super::server();
    let expected = generated(8);
    let whole = server.post("/v1/messages", &body(json!({}))).ok();
    assert_eq!(whole["content"], json!([{"type": "text", "text": expected}]));
    assert_eq!(whole["stop_reason"], "max_tokens");
    let n_prompt = server.post("/v1/messages/count_tokens", &body(json!({}))).ok()["input_tokens"].clone();
    let n_of = |usage: &Value| usage["input_tokens"].as_u64().zip(usage["cache_read_input_tokens"].as_u64());
    assert_eq!(n_of(&whole["usage"]).map(|(new, held)| new + held), n_prompt.as_u64());
    let events = server.post("/v1/messages", &body(json!({"stream": true}))).events();
    assert_eq!(n_of(&events[0]["message"]["usage"]).map(|(new, held)| new + held), n_prompt.as_u64());
    let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(text, expected);
    assert_eq!(events.last().expect("events")["type"], "message_stop");
}

#[test]
fn fields_reach_the_chat_endpoint() {
    let server = super::server();
    let post = |more: Value| server.post("/v1/messages", &body(more)).ok();
    let base = server.post("/v1/messages", &body(json!({"model": "demo:base"}))).ok();
    assert_eq!(post(json!({"proxy": {"off": true}}))["content"], base["content"]);
    let whole = post(json!({}));
    let word = whole["content"][0]["text"].as_str().expect("a text").split(' ').nth(2).expect("words").to_owned();
    let stopped = post(json!({"stop_sequences": [word]}));
    assert_eq!((&stopped["stop_reason"], &stopped["stop_sequence"]), (&json!("stop_sequence"), &json!(word)));
    let schema = json!({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": false});
    let format = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}, "max_tokens": 64});
    let written = post(format)["content"][0]["text"].as_str().expect("a text").to_owned();
    assert!(serde_json::from_str::<Value>(&written).expect("JSON")["a"].is_boolean(), "{written}");
    let explained = post(json!({"proxy": {"explain": true}}));
    assert_eq!(explained["proxy"]["tokens"].as_array().map(Vec::len), Some(8));
}

#[test]
fn errors_have_anthropics_shape() {
    let server = Server::start(&["-R", "demo", "-c", "256", "-np", "1", "--api-key", "secret"]);
    let (kind, _) = error(&server.post("/v1/messages", &body(json!({}))), 401);
    assert_eq!(kind, "authentication_error");
    let server = super::server();
    let refused = |more: Value, status| error(&server.post("/v1/messages", &body(more)), status);
    assert_eq!(refused(json!({"model": "none"}), 404).0, "not_found_error");
    let (kind, message) = refused(json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}), 400);
    assert!(kind == "invalid_request_error" && message.contains("`tools[0]`"), "{message}");
    let (_, message) = refused(json!({"top_p": -1}), 400);
    assert!(message.contains("`top_p`"), "{message}");
    let (_, message) = refused(json!({"max_tokens": -5, "stream": true}), 400);
    assert!(message.contains("`max_tokens`"), "{message}");
    let long = "word ".repeat(2000);
    assert_eq!(refused(json!({"messages": [{"role": "user", "content": long}]}), 400).0, "invalid_request_error");
    assert_eq!(error(&server.send("/v1/messages", "{"), 400).0, "invalid_request_error");
    assert_eq!(error(&server.get("/v1/messages"), 405).0, "invalid_request_error");
}
