//! `/v1/models`, and the ids that a request may name.

use serde_json::{Value, json};

use crate::server_process::Server;
use crate::trio::file;

fn ids(server: &Server) -> Vec<String> {
    let list = server.get("/v1/models").ok();
    assert_eq!(list["object"], "list");
    let ids =
        list["data"].as_array().expect("a list").iter().map(|model| model["id"].as_str().expect("an id").to_owned());
    ids.collect()
}

#[test]
fn every_recipe_is_a_model_and_so_are_its_base_and_expert() {
    let server = Server::start(&["-R", "demo", "-R", "expert-only", "-R", "contrastive", "-c", "256", "-np", "1"]);
    let expected = [
        "demo",
        "demo:base",
        "demo:expert",
        "expert-only",
        "expert-only:base",
        "expert-only:expert",
        "contrastive",
        "contrastive:base",
    ];
    assert_eq!(ids(&server), expected);
    let body = |model: Value| json!({"model": model, "prompt": "The", "max_tokens": 1});
    for id in expected {
        assert_eq!(server.post("/v1/completions", &body(json!(id))).ok()["model"], id);
    }
    for model in [Value::Null, json!("")] {
        assert_eq!(server.post("/v1/completions", &body(model)).ok()["model"], "demo");
    }
    let (kind, _, message) = server.post("/v1/completions", &body(json!("gpt-4"))).error(404);
    assert_eq!(kind, "not_found_error");
    assert!(message.contains("gpt-4") && message.contains("demo:base"), "{message}");
    server.post("/v1/completions", &body(json!(7))).error(400);
}

#[test]
fn a_model_has_the_name_of_its_file_or_an_alias() {
    let base = file("base");
    let base = base.to_str().expect("UTF-8");
    let server = Server::start(&["-m", base, "-c", "256", "-np", "1"]);
    assert_eq!(ids(&server), ["base"]);
    let (expert, antiexpert) = (file("expert"), file("antiexpert"));
    let (expert, antiexpert) = (expert.to_str().expect("UTF-8"), antiexpert.to_str().expect("UTF-8"));
    let server = Server::start(&["-m", base, "-me", expert, "-ma", antiexpert, "-c", "256", "-np", "1"]);
    assert_eq!(ids(&server), ["base", "base:base", "base:expert"]);
    let server = Server::start(&["-m", base, "-a", "big,gpt-4", "-c", "256", "-np", "1"]);
    assert_eq!(ids(&server), ["big"]);
    let named = server.post("/v1/completions", &json!({"model": "gpt-4", "prompt": "The", "max_tokens": 1})).ok();
    assert_eq!(named["model"], "big");
}
