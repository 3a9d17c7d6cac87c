//! `/v1/responses`

use serde_json::{Value, json};

use super::{generated, with};
use crate::trio::PROMPT;

fn body(more: Value) -> Value {
    let body = json!({"model": "demo", "max_output_tokens": 8, "input": PROMPT});
    with(body, more)
}

#[test]
fn an_answer_is_what_generate_writes_whole_or_in_a_stream() {
    let server = super::server();
    let expected = generated(8);
    let text = |response: &Value| response["output"][0]["content"][0]["text"].as_str().map(str::to_owned);
    let whole = server.post("/v1/responses", &body(json!({}))).ok();
    assert_eq!(text(&whole).as_deref(), Some(expected.as_str()));
    assert_eq!((&whole["status"], &whole["usage"]["output_tokens"]), (&json!("incomplete"), &json!(8)));
    let messages = json!([{"role": "user", "content": [{"type": "input_text", "text": PROMPT}]}]);
    assert_eq!(text(&server.post("/v1/responses", &body(json!({"input": messages}))).ok()), text(&whole));
    let events = server.post("/v1/responses", &body(json!({"stream": true}))).events();
    let pieces = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    assert_eq!(pieces.filter_map(|event| event["delta"].as_str()).collect::<String>(), expected);
    let last = events.last().expect("events");
    assert_eq!(text(&last["response"]).as_deref(), Some(expected.as_str()));
    assert_eq!(last["sequence_number"], events.len() - 1);
}

#[test]
fn an_empty_input_is_answered_without_a_text() {
    let server = super::server();
    let whole = server.post("/v1/responses", &body(json!({"input": []}))).ok();
    assert_eq!((&whole["status"], &whole["output"]), (&json!("completed"), &json!([])));
    let events = server.post("/v1/responses", &body(json!({"input": "", "stream": true}))).events();
    assert_eq!(events.last().expect("events")["type"], "response.completed");
}

#[test]
fn formats_and_log_probabilities_are_as_in_chat() {
    let server = super::server();
    let schema = json!({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": false});
    let format = json!({"format": {"type": "json_schema", "name": "a", "schema": schema}});
    let whole = server.post("/v1/responses", &body(json!({"text": format, "max_output_tokens": 64}))).ok();
    let written = whole["output"][0]["content"][0]["text"].as_str().expect("a text");
    assert!(serde_json::from_str::<Value>(written).expect("JSON")["a"].is_boolean(), "{written}");
    let asked = json!({"top_logprobs": 2, "include": ["message.output_text.logprobs"]});
    let logprobs = server.post("/v1/responses", &body(asked)).ok()["output"][0]["content"][0]["logprobs"].clone();
    assert_eq!(logprobs.as_array().map(Vec::len), Some(8));
    assert_eq!(logprobs[0]["top_logprobs"].as_array().map(Vec::len), Some(2));
}

#[test]
fn fields_are_refused_by_their_names() {
    let server = super::server();
    let refused = |more: Value| server.post("/v1/responses", &body(more)).error(400).1;
    assert_eq!(refused(json!({"previous_response_id": "resp_1"})), "previous_response_id");
    assert_eq!(refused(json!({"tools": [{"type": "custom", "name": "x"}]})), "tools[0]");
    assert_eq!(refused(json!({"max_output_tokens": -7})), "max_output_tokens");
    assert_eq!(refused(json!({"text": {"format": {"type": "xml"}}})), "text.format.type");
    assert_eq!(refused(json!({"input": [{"type": "item_reference", "id": "msg_1"}]})), "input[0]");
    let skipped = json!({"tools": [{"type": "web_search"}, {"type": "namespace"}, {"type": "image_generation"}]});
    server.post("/v1/responses", &body(skipped)).ok();
}
