//! `/v1/chat/completions`

use serde_json::{Value, json};

use crate::server_process::Server;
use crate::trio::{self, PROMPT};

fn server() -> Server {
    Server::start(&["-R", "demo", "--temp", "0", "-c", "512", "-np", "1"])
}

fn chat(more: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 16});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
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
fn steering_is_per_request() {
    let server = server();
    let text = |more: Value| {
        let whole = server.post("/v1/chat/completions", &chat(more)).ok();
        whole["choices"][0]["message"]["content"].as_str().expect("a text").to_owned()
    };
    let base = text(json!({"model": "demo:base"}));
    assert_eq!(text(json!({"proxy": {"off": true}})), base);
    assert_eq!(text(json!({"proxy": {"alpha": 0}})), base);
    assert_ne!(text(json!({})), base);
    let expert = trio::file("expert");
    let alone = crate::command_line::json(&[
        "generate",
        "-m",
        expert.to_str().expect("UTF-8"),
        "--temp",
        "0",
        "-c",
        "512",
        "-p",
        PROMPT,
        "-n",
        "16",
        "--json",
        "--repeat-penalty",
        "1.15",
    ]);
    assert_eq!(text(json!({"model": "demo:expert"})), alone["text"].as_str().expect("a text"));
}
