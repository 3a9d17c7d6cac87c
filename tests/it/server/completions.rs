//! `/v1/completions`

use serde_json::{Value, json};

use super::with;
use crate::server_process::Server;
use crate::trio::PROMPT;

fn server() -> Server {
    Server::start(&["-R", "demo", "--temp", "0", "-c", "512", "-np", "2"])
}

fn texts(reply: &Value) -> Vec<&str> {
    let choices = reply["choices"].as_array().expect("choices");
    choices.iter().map(|choice| choice["text"].as_str().expect("a text")).collect()
}

#[test]
fn prompts_are_texts_ids_or_lists_of_them() {
    let server = server();
    let complete = |prompt: Value| server.post("/v1/completions", &json!({"prompt": prompt, "max_tokens": 6})).ok();
    let one = complete(json!(PROMPT));
    let scored = json!({"prompt": PROMPT, "max_tokens": 0, "echo": true, "logprobs": 0});
    let scored = server.post("/v1/completions", &scored).ok();
    let content = scored["choices"][0]["logprobs"]["content"].as_array().expect("a list").clone();
    // The bundled vocabulary puts a token in front of a text, of which nothing is predicted.
    let ids: Vec<Value> = content.iter().map(|entry| entry["id"].clone()).collect();
    let other = complete(json!("The dog"));
    assert_eq!(texts(&complete(json!([PROMPT, "The dog"]))), [texts(&one)[0], texts(&other)[0]]);
    let tokens = scored["choices"][0]["logprobs"]["tokens"].as_array().expect("a list");
    assert_eq!(ids.len() + 1, tokens.len());
    let spelled = tokens.iter().map(|token| token.as_str().expect("a text")).collect::<String>();
    assert!(spelled.ends_with(PROMPT) && spelled != PROMPT, "{scored}");
    assert_eq!(texts(&scored)[0], PROMPT, "nobody sent the first token");
    // Ids are told as what they spell.
    let by_ids = json!({"prompt": ids, "max_tokens": 0, "echo": true});
    assert_eq!(texts(&server.post("/v1/completions", &by_ids).ok())[0], PROMPT);
    for prompt in [json!([]), json!(null), json!(7), json!({}), json!(["a", {}]), json!([[-1]]), json!([[999_999]])] {
        server.post("/v1/completions", &json!({"prompt": prompt, "max_tokens": 1})).error(400);
    }
    server.post("/v1/completions", &json!({"max_tokens": 1})).error(400);
}

#[test]
fn echo_tells_the_prompt_and_how_probable_each_of_its_tokens_is() {
    let server = server();
    let body = |more: Value| with(json!({"prompt": PROMPT, "max_tokens": 3, "echo": true, "logprobs": 2}), more);
    let whole = server.post("/v1/completions", &body(json!({}))).ok();
    let lists = &whole["choices"][0]["logprobs"];
    let list = |name: &str| lists[name].as_array().unwrap_or_else(|| panic!("{name}: {lists}")).clone();
    let n = list("tokens").len();
    assert_eq!(whole["usage"]["prompt_tokens"].as_u64().expect("a number") as usize + 3, n);
    for name in ["token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(list(name).len(), n, "{name}");
    }
    assert!(list("token_logprobs")[0].is_null() && list("top_logprobs")[0].is_null());
    assert!(list("token_logprobs")[1..].iter().all(|logprob| logprob.as_f64().is_some_and(|logprob| logprob <= 0.0)));
    let text = texts(&whole)[0].to_owned();
    // The model's own first token is no part of the text.
    assert_eq!(list("text_offset")[0], 0);
    for (offset, token) in list("text_offset").iter().zip(list("tokens")).skip(1) {
        let behind: String = text.chars().skip(offset.as_u64().expect("a number") as usize).collect();
        assert!(behind.starts_with(token.as_str().expect("a text")), "{token} at {offset}");
    }
    // What is generated is what is generated without.
    let plain = server.post("/v1/completions", &json!({"prompt": PROMPT, "max_tokens": 3})).ok();
    assert!(text.ends_with(texts(&plain)[0]), "{text}");
    // A stream says the same in pieces.
    let events = server.post("/v1/completions", &body(json!({"stream": true}))).events();
    let streamed: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    assert_eq!(streamed, text);
    let streamed: Vec<Value> = events
        .iter()
        .filter_map(|event| event["choices"][0]["logprobs"]["text_offset"].as_array())
        .flatten()
        .cloned()
        .collect();
    assert_eq!(streamed, list("text_offset"));
    // Nothing but the prompt.
    let alone = server.post("/v1/completions", &body(json!({"max_tokens": 0}))).ok();
    assert_eq!(alone["choices"][0]["logprobs"]["tokens"].as_array().map(Vec::len), Some(n - 3));
}

#[test]
fn choices_differ_by_their_seeds_and_are_told_in_order() {
    let server = server();
    let body = json!({"prompt": [PROMPT, "The dog"], "max_tokens": 8, "n": 3, "temperature": 1.0, "seed": 1});
    let many = server.post("/v1/completions", &body).ok();
    assert_eq!(texts(&many).len(), 6);
    assert_ne!(texts(&many)[0], texts(&many)[1]);
    for (i, prompt, seed) in [(0, PROMPT, 1), (1, PROMPT, 2), (5, "The dog", 3)] {
        let one = json!({"prompt": prompt, "max_tokens": 8, "temperature": 1.0, "seed": seed});
        assert_eq!(texts(&server.post("/v1/completions", &one).ok()), [texts(&many)[i]], "{i}");
    }
    let usage = &many["usage"];
    let alone = |prompt: &str| {
        server.post("/v1/completions", &json!({"prompt": prompt, "max_tokens": 1})).ok()["usage"]["prompt_tokens"]
            .as_u64()
    };
    assert_eq!(usage["prompt_tokens"].as_u64(), Some(alone(PROMPT).unwrap() + alone("The dog").unwrap()));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let server = server();
    for (more, param) in [
        (json!({"suffix": "end"}), "suffix"),
        (json!({"best_of": 3}), "best_of"),
        (json!({"n": 0}), "n"),
        (json!({"n": 1000}), "n"),
        (json!({"logprobs": -1}), "logprobs"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"temperature": -1}), "temperature"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"temperature": [1]}), "temperature"),
        (json!({"top_p": 2}), "top_p"),
        (json!({"repeat_penalty": 0}), "repeat_penalty"),
        (json!({"max_tokens": -7}), "max_tokens"),
        (json!({"stop": 7}), "stop"),
        (json!({"stop": ["a", 7]}), "stop"),
        (json!({"logit_bias": {"x": "y"}}), "logit_bias"),
        (json!({"logit_bias": [[1]]}), "logit_bias"),
        (json!({"samplers": ["nonsense"]}), "samplers"),
        (json!({"samplers": 7}), "samplers"),
        (json!({"stream": "yes"}), "stream"),
        (json!({"stream_options": 7}), "stream_options"),
        (json!({"post_sampling_probs": true}), "post_sampling_probs"),
        (json!({"lora": [{"id": 0, "scale": 1}]}), "lora"),
        (json!({"mirostat": 3}), "mirostat"),
    ] {
        let body = with(json!({"prompt": PROMPT, "max_tokens": 1}), more.clone());
        let (kind, got, message) = server.post("/v1/completions", &body).error(400);
        assert_eq!((kind.as_str(), &got), ("invalid_request_error", &json!(param)), "{more}: {message}");
    }
    // null is as good as nothing, and what nobody knows is left alone.
    let body = json!({
        "prompt": PROMPT, "max_tokens": 1, "temperature": null, "stop": null, "n": null, "logit_bias": null, "suffix": null,
        "user": "somebody", "store": false, "metadata": {}, "unknown": [1, 2], "stream_options": null, "proxy": null,
    });
    server.post("/v1/completions", &body).ok();
}
