//! Replies that are steered while they are streamed, and answers that are begun.

use serde_json::{Value, json};

use super::with;
use crate::server_process::Server;
use crate::trio::PROMPT;

fn serve(recipe: &str, n_slots: &str) -> Server {
    Server::start(&["-R", recipe, "--temp", "0", "-c", "4096", "-np", n_slots, "--deterministic"])
}

/// A request for a text that does not end by itself, with the ids of its tokens.
fn endless(more: Value) -> Value {
    with(json!({"max_tokens": 3000, "ignore_eos": true, "stream": true, "proxy": {"explain": true}}), more)
}

/// The ids of the tokens that a choice tells of.
fn ids(choice: &Value) -> Vec<i64> {
    let tokens = choice["proxy"]["tokens"].as_array();
    tokens.into_iter().flatten().map(|token| token["id"].as_i64().expect("an id")).collect()
}

/// Streams until 20 tokens are told behind a change that is sent with the third: the ids, and what was told of the change.
fn steered(server: &Server, path: &str, body: &Value, change: &Value) -> (Vec<i64>, Value) {
    let (mut tokens, mut told, mut is_sent) = (Vec::new(), Value::Null, false);
    for event in server.stream(path, body) {
        let choice = &event["choices"][0];
        if !choice["proxy"]["position"].is_null() {
            assert_eq!((choice["proxy"]["position"].as_u64(), ids(choice)), (Some(tokens.len() as u64), vec![]));
            assert_eq!(choice["finish_reason"], Value::Null);
            told = choice["proxy"].clone();
        }
        tokens.extend(ids(choice));
        if tokens.len() >= 3 && !is_sent {
            let id = event["id"].as_str().expect("an id");
            let reply = server.post(&format!("/proxy/{id}"), change).ok();
            assert_eq!(reply, json!({"id": id, "texts": 1}));
            is_sent = true;
        }
        if told["position"].as_u64().is_some_and(|position| tokens.len() as u64 >= position + 20) {
            return (tokens, told);
        }
    }
    panic!("it ended before: {told}");
}

#[test]
fn a_stream_is_steered_by_its_id() {
    let server = serve("several", "1");
    let prompt = json!({"prompt": PROMPT});
    let messages = json!({"messages": [{"role": "user", "content": PROMPT}]});
    for (path, input) in [("/v1/completions", &prompt), ("/v1/chat/completions", &messages)] {
        for (change, stories, plays) in [
            (json!({"alpha": 0.25}), "0.25", "0.25"),
            (json!({"alpha": [0.25, -0.5]}), "0.25", "-0.5"),
            (json!({"pairs": {"plays": 0.75}}), "1", "0.75"),
            (json!({"schedule": "0.25", "pairs": {"plays": 0}}), "0.25", "0"),
        ] {
            let body = with(endless(input.clone()), json!({"proxy": {"alpha": [1, 0.5], "explain": true}}));
            let (tokens, told) = steered(&server, path, &body, &change);
            let n = told["position"].as_u64().expect("a position");
            let numbers: [f64; 2] = [stories, plays].map(|alpha| alpha.parse().expect("a number"));
            assert_eq!(told["alpha"], json!(numbers), "{change}");
            let schedule = json!([format!("1@0,{stories}@{n}"), format!("0.5@0,{plays}@{n}")]);
            let more = json!({
                "max_tokens": tokens.len(), "stream": false, "proxy": {"schedule": schedule, "explain": true},
            });
            let whole = server.post(path, &with(endless(input.clone()), more)).ok();
            assert_eq!(ids(&whole["choices"][0]), tokens, "{path}: {change}");
        }
    }
}

/// What is guided beside its pairs stays guided.
#[test]
fn guidance_is_not_what_is_steered() {
    let server = serve("demo", "1");
    let guided = json!({"prompt": PROMPT, "guidance_scale": 1.5, "negative_prompt": "A dog was"});
    let (tokens, told) = steered(
        &server,
        "/v1/completions",
        &with(endless(guided.clone()), json!({"proxy": {"alpha": 0.75, "explain": true}})),
        &json!({"alpha": 0}),
    );
    assert_eq!(told["alpha"], json!([0.0]));
    let alpha = format!("0.75@0,0@{}", told["position"]);
    let more = json!({"max_tokens": tokens.len(), "stream": false, "proxy": {"schedule": alpha, "explain": true}});
    let whole = server.post("/v1/completions", &with(endless(guided), more)).ok();
    assert_eq!(ids(&whole["choices"][0]), tokens);
}

#[test]
fn every_text_of_a_reply_is_told_while_it_is_written() {
    let server = serve("demo", "2");
    let mut events = server.stream("/v1/completions", &endless(json!({"prompt": PROMPT, "n": 2})));
    let id = events.next().expect("a chunk")["id"].as_str().expect("an id").to_owned();
    let path = format!("/proxy/{id}");
    assert_eq!(server.post(&path, &json!({"alpha": 0})).ok()["texts"], 2);
    let mut told = [false; 2];
    while told != [true; 2] {
        let choice = events.next().expect("a chunk")["choices"][0].clone();
        let index = usize::try_from(choice["index"].as_u64().expect("an index")).expect("a small one");
        told[index] |= choice["proxy"]["alpha"] == json!([0.0]);
    }
    drop(events);
    // Of other dialects too.
    let asked = json!({"max_tokens": 3000, "ignore_eos": true, "stream": true});
    let said = json!([{"role": "user", "content": PROMPT}]);
    for (of, body) in [
        ("/v1/responses", json!({"input": PROMPT, "max_output_tokens": 3000})),
        ("/v1/messages", json!({"messages": said})),
    ] {
        let mut stream = server.stream(of, &with(asked.clone(), body));
        let first = stream.next().expect("an event");
        let id = first["response"]["id"].as_str().or(first["message"]["id"].as_str()).expect("an id").to_owned();
        assert_eq!(server.post(&format!("/proxy/{id}"), &json!({"alpha": 0.5})).ok()["texts"], 1, "{of}");
    }
}

#[test]
fn a_change_that_cannot_be_is_refused_and_one_of_nothing_not_found() {
    let server = serve("several", "2");
    for path in ["/proxy/chatcmpl-0", "/proxy/x%2Fy"] {
        let (kind, _, message) = server.post(path, &json!({"alpha": 1})).error(404);
        assert!(kind == "not_found_error" && message.contains("no text of a reply"), "{message}");
    }
    let begin = |more: Value| {
        let mut events = server.stream("/v1/completions", &endless(with(json!({"prompt": PROMPT}), more)));
        let id = events.next().expect("a chunk")["id"].as_str().expect("an id").to_owned();
        (events, format!("/proxy/{id}"))
    };
    let (mut events, path) = begin(json!({}));
    for (body, param, words) in [
        (json!({}), Value::Null, "expected `alpha`"),
        (json!({"pairs": {}}), Value::Null, "expected `alpha`"),
        (json!({"alpha": 11}), json!("alpha"), "-10 to 10"),
        (json!({"alpha": [1, 2, 3]}), json!("alpha"), "3 values"),
        (json!({"alpha": 1, "schedule": "1"}), json!("schedule"), "one of the two"),
        (json!({"schedule": "1@5"}), json!("schedule"), "position 0 first"),
        (json!({"pairs": {"poems": 1}}), json!("pairs"), "stories, plays"),
        (json!({"plausibility": 0.1}), json!("plausibility"), "cannot change"),
        (json!({"off": true}), json!("off"), "cannot change"),
        (json!({"alpha": 1, "explain": true}), json!("explain"), "cannot change"),
        (json!({"begin": []}), json!("begin"), "cannot change"),
        (json!({"alhpa": 1}), json!("alhpa"), "unknown field"),
    ] {
        let (kind, got, message) = server.post(&path, &body).error(400);
        assert_eq!((kind.as_str(), got), ("invalid_request_error", param), "{body}: {message}");
        assert!(message.contains(words), "{body}: {message}");
    }
    assert_eq!(server.send(&path, "").status, 400);
    assert_eq!(server.get(&path).status, 405);
    assert!(events.next().is_some(), "it goes on");
    // Its reader goes, and with that the reply.
    drop(events);
    let began = std::time::Instant::now();
    while server.post(&path, &json!({"alpha": 1})).status == 200 {
        assert!(began.elapsed().as_secs() < 60, "it is still listed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    for more in [json!({"model": "several:base"}), json!({"proxy": {"off": true}})] {
        let (_events, path) = begin(more.clone());
        let (_, _, message) = server.post(&path, &json!({"alpha": 1})).error(400);
        assert!(message.contains("not steered"), "{more}: {message}");
    }
}

#[test]
fn an_answer_goes_on_behind_the_tokens_it_is_begun_with() {
    let server = serve("demo", "1");
    let prompt = json!({"prompt": PROMPT});
    let messages = json!({"messages": [{"role": "user", "content": PROMPT}]});
    for (path, input, text) in
        [("/v1/completions", &prompt, "/text"), ("/v1/chat/completions", &messages, "/message/content")]
    {
        let choice = |n: usize, more: Value| {
            let proxy = with(json!({"schedule": "1.5@0..0@30", "explain": true}), more);
            let body = endless(with(input.clone(), json!({"max_tokens": n, "stream": false})));
            server.post(path, &with(body, json!({"proxy": proxy}))).ok()["choices"][0].clone()
        };
        let whole = choice(24, json!({}));
        let tokens = ids(&whole);
        let rest = choice(14, json!({"begin": tokens[..10]}));
        assert_eq!(ids(&rest), tokens[10..], "{path}");
        let said = |choice: &Value| choice.pointer(text).and_then(Value::as_str).expect("a text").to_owned();
        assert_eq!(said(&choice(10, json!({}))) + &said(&rest), said(&whole));
    }
    let refused = |more: Value| server.post("/v1/completions", &with(prompt.clone(), more)).error(400).2;
    assert!(refused(json!({"proxy": {"begin": [1 << 30]}})).contains("at position 0"));
    assert!(refused(json!({"proxy": {"begin": "x"}})).contains("proxy.begin"));
    assert!(refused(json!({"proxy": {"begin": [5]}, "echo": true})).contains("`echo`"));
    let twice = server.post("/v1/completions", &with(prompt.clone(), json!({"n": 2, "proxy": {"begin": [5, 6]}}))).ok();
    assert_eq!(twice["choices"].as_array().map(Vec::len), Some(2));
}
