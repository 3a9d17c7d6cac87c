//! Clients that leave, an engine that dies, and a server that is asked to end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::with;
use crate::raw::{Raw, get};
use crate::server_process::{Server, kill};
use crate::usage;

/// Nothing here takes so long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);
const CHAT: &str = "/v1/chat/completions";

/// With room for texts that last for a while, and the same logits whatever else runs.
fn server(more: &[&str]) -> Server {
    let args = ["-R", "demo", "--temp", "0", "--deterministic", "-np", "2", "-c", "16384"];
    Server::start(&[&args, more].concat())
}

fn chat(more: &Value) -> Value {
    with(json!({"messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": 12}), more.clone())
}

/// A text that does not end by itself.
fn endless() -> Value {
    chat(&json!({"max_tokens": -1, "ignore_eos": true, "stream": true}))
}

/// A prompt that takes a while to be read.
fn long() -> Value {
    let content = "Once upon a time there was a little girl who had a dog and a cat. ".repeat(330);
    json!({"messages": [{"role": "user", "content": content}], "max_tokens": 4})
}

fn health(server: &Server) -> Value {
    let mut raw = Raw::connect(server);
    raw.send(get("/health", &[]));
    let answer = raw.answer().expect("an answer");
    let mut told = answer.json();
    told["http"] = json!(answer.status);
    told
}

/// Waits until the server is in a state.
fn until(server: &Server, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let health = health(server);
        if holds(&health) {
            return health;
        }
        assert!(began.elapsed() < PATIENCE, "{what} never came: {health}\n{}", server.said());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn runs(server: &Server, n: u64) {
    until(server, &format!("{n} running"), |health| health["n_running"] == n && health["n_waiting"] == 0);
}

/// A short answer's text.
fn text(server: &Server) -> String {
    let whole = server.post(CHAT, &chat(&json!({}))).ok();
    whole["choices"][0]["message"]["content"].as_str().expect("a text").to_owned()
}

/// A stream that is being written.
fn writing(server: &Server) -> Raw {
    let mut raw = Raw::connect(server);
    raw.post(CHAT, &endless());
    raw.until("\"content\":\"").expect("a token");
    raw
}

#[test]
fn whoever_leaves_is_not_written_for() {
    let server = server(&[]);
    let before = text(&server);
    // While it is read, streamed or not; while it is written, streamed or not.
    for is_stream in [true, false] {
        let mut body = long();
        body["stream"] = json!(is_stream);
        let mut raw = Raw::connect(&server);
        raw.post(CHAT, &body);
        runs(&server, 1);
        drop(raw);
        runs(&server, 0);
    }
    drop(writing(&server));
    runs(&server, 0);
    let mut whole = endless();
    whole["stream"] = json!(false);
    let mut raw = Raw::connect(&server);
    raw.post(CHAT, &whole);
    runs(&server, 1);
    drop(raw);
    runs(&server, 0);
    // Those that wait behind others leave the queue.
    let streams = [(); 2].map(|()| writing(&server));
    let mut waiting = Raw::connect(&server);
    waiting.post(CHAT, &chat(&json!({})));
    until(&server, "one that waits", |health| health["n_waiting"] == 1);
    drop(waiting);
    runs(&server, 2);
    drop(streams);
    runs(&server, 0);
    assert_eq!(text(&server), before);
}

#[test]
fn as_many_wait_as_may_wait_and_others_are_told_when_to_come_back() {
    let server = server(&["--queue", "1"]);
    let streams = [(); 2].map(|()| writing(&server));
    let mut waiting = Raw::connect(&server);
    waiting.post(CHAT, &chat(&json!({})));
    until(&server, "one that waits", |health| health["n_waiting"] == 1);
    let refused = server.post(CHAT, &chat(&json!({})));
    assert_eq!((refused.error(429).0.as_str(), refused.retry_after.as_str()), ("rate_limit_error", "1"));
    drop(streams);
    assert_eq!(waiting.answer().expect("an answer").status, 200);
}

#[test]
fn whoever_stops_reading_is_cut_off() {
    // The context is long enough for a text that no socket holds: with explanations a token is a kilobyte.
    let server = server(&["--timeout", "1", "-c", "65536"]);
    let mut body = endless();
    body["top_logprobs"] = json!(200);
    body["logprobs"] = json!(true);
    let mut raw = Raw::connect(&server);
    raw.post(CHAT, &body);
    runs(&server, 1);
    let began = Instant::now();
    runs(&server, 0);
    // It was not written to its end: what has come does not end as a stream does.
    let rest = raw.rest();
    assert!(!rest.contains("[DONE]"), "{:?}: {} bytes", began.elapsed(), rest.len());
}

#[test]
fn an_engine_that_dies_ends_its_texts_with_an_error_and_comes_back() {
    let server = server(&[]);
    let before = text(&server);
    let mut n_restarts = 0;
    for signal in ["KILL", "ABRT"] {
        for is_reading in [true, false] {
            let mut raw = if is_reading {
                let mut raw = Raw::connect(&server);
                let mut body = long();
                body["stream"] = json!(true);
                raw.post(CHAT, &body);
                raw
            } else {
                writing(&server)
            };
            let mut whole = Raw::connect(&server);
            whole.post(CHAT, &json!({"stream": false, "messages": endless()["messages"], "ignore_eos": true}));
            runs(&server, 2);
            let engine = usage::children(server.pid());
            assert_eq!(engine.len(), 1, "one engine");
            kill(signal, engine[0]);
            let what = format!("{signal}, reading: {is_reading}");
            let rest = raw.rest_of_stream();
            assert!(rest.contains("\"error\"") && !rest.contains("[DONE]"), "{what}: {rest}");
            let failed = whole.answer().expect("an answer");
            assert_eq!(failed.status / 100, 5, "{what}: {failed:?}");
            n_restarts += 1;
            let is_back = |health: &Value| health["http"] == 200 && health["n_restarts"] == n_restarts;
            let down_or_back = |health: &Value| health["http"] == 503 || is_back(health);
            assert!(down_or_back(&health(&server)), "{what}");
            until(&server, "an engine", is_back);
            assert_eq!(text(&server), before, "{what}");
            let n_told = || server.said().matches("error: the engine's process has ended").count() as u64;
            until(&server, "a word about it", |_| n_told() == n_restarts);
        }
    }
}

#[test]
fn a_first_signal_lets_answers_end_and_takes_no_more() {
    let server = server(&[]);
    let mut idle = Raw::connect(&server);
    idle.send(get("/health", &[]));
    assert_eq!(idle.answer().expect("an answer").status, 200);
    let mut raw = Raw::connect(&server);
    raw.post(CHAT, &chat(&json!({"max_tokens": 300, "ignore_eos": true, "stream": true})));
    raw.until("\"content\":\"").expect("a token");
    server.signal("TERM");
    server.until("ending");
    // On a connection that was there, requests are refused, and health is as bad.
    let began = Instant::now();
    loop {
        idle.send(get("/health", &[]));
        let Some(answer) = idle.answer() else { break };
        if answer.status == 503 {
            assert_eq!(answer.header("connection"), "close");
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{answer:?}");
    }
    let address = crate::raw::address(&server).to_owned();
    let rest = raw.rest_of_stream();
    assert!(rest.contains("[DONE]"), "{rest}");
    assert_eq!(server.wait(), Some(0));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn what_has_not_ended_in_time_ends_with_an_error_and_all_ends_at_a_second_signal() {
    let drained = server(&["--drain", "0"]);
    let mut raw = writing(&drained);
    drained.signal("INT");
    let rest = raw.rest_of_stream();
    assert!(rest.contains("\"error\"") && !rest.contains("[DONE]"), "{rest}");
    assert_eq!(drained.wait(), Some(0));

    let hurried = server(&["--drain", "3600"]);
    let engine = usage::children(hurried.pid());
    let mut raw = writing(&hurried);
    hurried.signal("INT");
    hurried.until("ending");
    hurried.signal("INT");
    assert_eq!(hurried.wait(), Some(130));
    assert!(!raw.rest().contains("[DONE]"));
    let began = Instant::now();
    while engine.iter().any(|pid| usage::runs(*pid)) {
        assert!(began.elapsed() < PATIENCE, "the engine goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}
