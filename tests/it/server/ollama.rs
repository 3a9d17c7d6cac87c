//! Ollama's routes.

use serde_json::{Value, json};

use super::{generated, with};
use crate::server_process::Reply;
use crate::trio::PROMPT;

fn body(more: Value) -> Value {
    let body = json!({
        "model": "demo", "messages": [{"role": "user", "content": PROMPT}], "options": {"num_predict": 8},
    });
    with(body, more)
}

fn lines(reply: &Reply) -> Vec<Value> {
    assert_eq!((reply.status, reply.kind.as_str()), (200, "application/x-ndjson"), "{reply:?}");
    reply.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn error(reply: &Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{reply:?}");
    reply.json()["error"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}

#[test]
fn an_answer_is_what_generate_writes_in_lines_or_whole() {
    let server = super::server();
    let expected = generated(8);
    let lines = lines(&server.post("/api/chat", &body(json!({}))));
    let text: String = lines.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
    assert_eq!(text, expected);
    let last = lines.last().expect("lines");
    assert_eq!((&last["done"], &last["done_reason"], &last["eval_count"]), (&json!(true), &json!("length"), &json!(8)));
    let whole = server.post("/api/chat", &body(json!({"stream": false}))).ok();
    assert_eq!(whole["message"], json!({"role": "assistant", "content": expected}));
    assert_eq!(whole["prompt_eval_count"], last["prompt_eval_count"]);
    let loaded = server.post("/api/chat", &json!({"model": "demo"})).ok();
    assert_eq!(loaded["done_reason"], "load");
}

#[test]
fn models_are_listed_and_shown() {
    let server = super::server();
    assert!(server.get("/api/version").ok()["version"].is_string());
    let models = server.get("/api/tags").ok()["models"].as_array().expect("a list").clone();
    let names: Vec<_> = models.iter().map(|model| model["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["demo:latest", "demo:base", "demo:expert"]);
    for (name, model) in names.iter().zip(&models) {
        assert_eq!(model["digest"].as_str().map(str::len), Some(64));
        let shown = server.post("/api/show", &json!({"model": name})).ok();
        assert_eq!(shown["details"], model["details"]);
        assert_eq!(shown["capabilities"], json!(["completion", "tools"]));
        assert_eq!(shown["model_info"]["llama.context_length"], 512);
        let reply = server.post("/api/chat", &body(json!({"model": name, "stream": false}))).ok();
        assert_eq!(reply["model"], *name);
    }
    let older = server.post("/api/show", &json!({"name": "demo"})).ok();
    assert_eq!(older["model_info"]["general.basename"], "demo");
}

#[test]
fn options_and_formats_reach_the_chat_endpoint() {
    let server = super::server();
    let post = |more: Value| server.post("/api/chat", &body(more)).ok()["message"]["content"].clone();
    let base = post(json!({"stream": false, "model": "demo:base"}));
    assert_eq!(post(json!({"stream": false, "proxy": {"off": true}})), base);
    let schema = json!({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": false});
    let written =
        post(json!({"stream": false, "format": schema, "options": {"num_predict": 64, "seed": 1, "temperature": 0.5}}));
    let written: Value = serde_json::from_str(written.as_str().expect("a text")).expect("JSON");
    assert!(written["a"].is_boolean(), "{written}");
    let stopped =
        server.post("/api/chat", &body(json!({"stream": false, "options": {"stop": [" a"], "num_predict": 200}}))).ok();
    assert_eq!(stopped["done_reason"], "stop");
}

#[test]
fn errors_are_texts() {
    let server = super::server();
    let refused = |more: Value| error(&server.post("/api/chat", &body(more)), 400);
    assert!(refused(json!({"options": {"temperature": -1}})).contains("`temperature`"));
    assert!(refused(json!({"options": {"num_predict": -9}})).contains("`num_predict`"));
    assert!(refused(json!({"tools": [{"type": "function"}]})).contains("`tools[0].name`"));
    assert!(refused(json!({"think": true})).contains("`think`"));
    assert!(refused(json!({"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]})).contains("images"));
    error(&server.post("/api/chat", &body(json!({"model": "none"}))), 404);
    error(&server.post("/api/show", &json!({"model": "none"})), 404);
    error(&server.get("/api/none"), 404);
}
