//! `/v1/chat/completions`

use serde_json::{Value, json};

use super::{server, with};
use crate::trio::PROMPT;

fn chat(more: Value) -> Value {
    with(json!({"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 16}), more)
}

#[test]
fn an_answer_is_what_generate_writes_whole_or_in_a_stream() {
    let server = server();
    let whole = server.post("/v1/chat/completions", &chat(json!({}))).ok();
    let text = whole["choices"][0]["message"]["content"].as_str().expect("a text").to_owned();
    let expected = crate::command_line::json(&[
        "generate", "-R", "demo", "--temp", "0", "-c", "512", "-p", PROMPT, "-n", "16", "--json", "--draft", "off",
    ]);
    assert_eq!(text, expected["text"].as_str().expect("a text"));
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 16);
    let streamed =
        server.post("/v1/chat/completions", &chat(json!({"stream": true, "stream_options": {"include_usage": true}})));
    assert!(streamed.text.ends_with("data: [DONE]\n\n"), "{streamed:?}");
    let events = streamed.events();
    let pieces = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(pieces.collect::<String>(), text);
    assert_eq!(events.last().expect("events")["usage"]["completion_tokens"], 16);
}

#[test]
fn roles_parts_and_prefixes_of_messages() {
    let server = server();
    let text = |messages: Value| {
        let whole = server.post("/v1/chat/completions", &json!({"messages": messages, "max_tokens": 8})).ok();
        whole["choices"][0]["message"]["content"].as_str().expect("a text").to_owned()
    };
    let parts = json!([{"type": "text", "text": "Once upon a time"}, {"type": "text", "text": "there was"}]);
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    assert_eq!(text(user(parts)), text(user(json!("Once upon a time\nthere was"))));
    let system = |role: &str| json!([{"role": role, "content": "Of dogs."}, {"role": "user", "content": PROMPT}]);
    assert_eq!(text(system("system")), text(system("developer")));
    // An assistant's last message is gone on with: in plain text that is one text.
    let prefilled =
        json!([{"role": "user", "content": "Once upon a time"}, {"role": "assistant", "content": " there was"}]);
    assert_eq!(text(prefilled), text(user(json!("Once upon a time there was"))));
    let begun = json!([{"role": "assistant", "content": "Once upon a time there was"}]);
    assert_eq!(text(begun), text(user(json!("Once upon a time there was"))));
    for (messages, param) in [
        (json!([]), "messages"),
        (json!([{"role": "wizard", "content": "x"}]), "messages[0].role"),
        (json!([{"role": "function", "content": "x"}]), "messages[0].role"),
        (json!([{"role": "user"}]), "messages[0].content"),
        (json!([{"role": "user", "content": 7}]), "messages[0].content"),
        (
            json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
            "messages[0].content[0]",
        ),
        (json!([{"content": "x"}]), "messages[0].role"),
        (json!("hello"), "messages"),
    ] {
        let (kind, got, message) = server.post("/v1/chat/completions", &json!({"messages": messages})).error(400);
        assert_eq!((kind.as_str(), &got), ("invalid_request_error", &json!(param)), "{messages}: {message}");
    }
    server.post("/v1/chat/completions", &json!({})).error(400);
}

#[test]
fn answers_keep_to_schemas_and_stop_where_they_are_told() {
    let server = server();
    let whole = |more: Value| server.post("/v1/chat/completions", &chat(more)).ok();
    let schema = json!({"type": "object", "properties": {"name": {"enum": ["Tom", "Tim"]}}, "required": ["name"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "a_name", "schema": schema}});
    let reply = whole(json!({"response_format": format, "max_tokens": 64}));
    let answer: Value =
        serde_json::from_str(reply["choices"][0]["message"]["content"].as_str().expect("a text")).expect("JSON");
    assert!(["Tom", "Tim"].contains(&answer["name"].as_str().expect("a name")), "{answer}");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    let text = whole(json!({}))["choices"][0]["message"]["content"].as_str().expect("a text").to_owned();
    let word = text.split_whitespace().nth(3).expect("some words");
    let reply = whole(json!({"stop": [word]}));
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    let stopped = reply["choices"][0]["message"]["content"].as_str().expect("a text");
    assert_eq!(stopped, &text[..text.find(word).expect("there")]);
    for (more, param) in [
        (json!({"tools": [{"type": "function", "function": {"name": "a b"}}]}), "tools"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"response_format": {"type": "xml"}}), "response_format.type"),
        (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema.schema"),
        (json!({"top_logprobs": 1000}), "top_logprobs"),
    ] {
        let (_, got, message) = server.post("/v1/chat/completions", &chat(more.clone())).error(400);
        assert_eq!(got, json!(param), "{more}: {message}");
    }
    let (kind, _, message) = server
        .post("/v1/chat/completions", &json!({"messages": [{"role": "user", "content": "a ".repeat(4000)}]}))
        .error(400);
    assert_eq!(kind, "exceed_context_size_error", "{message}");
}

#[test]
fn more_choices_than_slots_are_streamed_too() {
    let server = server();
    let body = |more: Value| with(chat(json!({"n": 3, "max_tokens": 4, "temperature": 1.0, "seed": 5})), more);
    let whole = server.post("/v1/chat/completions", &body(json!({}))).ok();
    let events = server.post("/v1/chat/completions", &body(json!({"stream": true}))).events();
    for i in 0..3 {
        let own: Vec<_> = events.iter().filter(|event| event["choices"][0]["index"] == i).collect();
        let text: String = own.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, whole["choices"][i]["message"]["content"].as_str().expect("a text"), "{i}");
        assert_eq!(own.last().expect("events")["choices"][0]["finish_reason"], "length");
    }
}
