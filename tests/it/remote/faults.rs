//! Servers that fail or lie: the right text after a few tries, or an error in words. Never a panic, a hang, or another text.

use serde_json::{Value, json};

use super::{answer, base, faulty, generated, tried};
use crate::base_server::{BaseServer, Fault, changed};
use crate::trio::PROMPT;

/// Tokens of each text, one request each.
const N: usize = 6;
const LOOK: &str = "/completion";

/// The text with the base on a server, each token by a request of its own.
fn ask(url: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let args = ["-p", PROMPT, "-n", "6", "--base-url", url, "--base-logprobs", "200", "--base-ahead", "1"];
    tried(&[&args, more].concat(), None)
}

/// What is written when nothing fails.
fn right() -> String {
    generated(&["-p", PROMPT, "-n", "6", "--base-url", &base().url, "--base-logprobs", "200", "--base-ahead", "1"])
}

/// The error of a text that failed: one line, and a hint.
fn error(said: &str) -> &str {
    let mut errors = said.lines().filter_map(|line| line.strip_prefix("error: "));
    let error = errors.next().unwrap_or_else(|| panic!("no error: {said}"));
    assert!(errors.next().is_none() && error.len() < 1000, "{said}");
    error
}

fn n_looks(server: &BaseServer) -> usize {
    server.requests(LOOK).len()
}

/// The first token's log-probabilities, changed.
fn top(change: impl Fn(&mut Vec<Value>) + Send + Sync + 'static) -> Fault {
    changed(move |answer| {
        let top = &mut answer["completion_probabilities"][0]["top_logprobs"];
        change(top.as_array_mut().expect("log-probabilities"));
    })
}

/// Faults that pass: the request is sent again.
#[test]
fn failures_that_pass_change_nothing() {
    let right = right();
    let server = faulty();
    for fault in [
        Fault::Silent,
        Fault::Cut,
        Fault::Status(429, "Retry-After: 1", ""),
        Fault::Status(429, "", r#"{"error": {"message": "too many"}}"#),
        Fault::Status(500, "", "no JSON"),
        Fault::Status(502, "", "<html>Bad Gateway</html>"),
        Fault::Status(503, "Retry-After: 0", r#"{"error": {"message": "Loading model", "code": 503}}"#),
        Fault::Says("<html>"),
        Fault::Says("{}"),
        Fault::Says(""),
    ] {
        // In front of the third token, and once before a token is asked for.
        server.clear();
        server.next(LOOK, [Fault::None, Fault::None, fault.clone()]);
        assert_eq!(ask(&server.url, &[]), (Some(0), right.clone(), String::new()), "{fault:?}");
        assert_eq!(n_looks(&server), N + 1, "{fault:?}");
    }
    for path in ["/props", "/v1/models", "/detokenize"] {
        server.clear();
        server.next(path, [Fault::Status(503, "", "loading"), Fault::Silent]);
        assert_eq!(ask(&server.url, &[]).1, right, "{path}");
        assert_eq!(server.requests(path).len(), 3, "{path}");
    }
}

#[test]
fn what_was_tried_again_is_told() {
    let server = faulty();
    server.next(LOOK, [Fault::Silent, Fault::None, Fault::Silent]);
    let args = ["generate", "-R", "demo", "--temp", "0", "-n", "3", "-p", PROMPT, "--base-ahead", "1"];
    let output = super::run_with_key(&[&args[..], &["--base-url", server.url.as_str()]].concat(), None);
    let said = crate::command_line::stderr(&output);
    assert!(said.contains("3 positions of the base by 5 requests, 2 of them sent again after a failure"), "{said}");
}

/// Faults that stay: after as many tries as are asked for the text ends with an error, and what was written stays.
#[test]
fn failures_that_stay_are_errors_in_words() {
    let right = right();
    let server = faulty();
    let cases: Vec<(Fault, &str, usize)> = vec![
        (Fault::Silent, "the connection to ", 2),
        (Fault::Cut, "the connection to ", 2),
        (Fault::Status(429, "", r#"{"error": {"message": "slow down"}}"#), "answered with HTTP 429: slow down", 2),
        (Fault::Status(429, "Retry-After: 100000", ""), "answered with HTTP 429", 1),
        (
            Fault::Status(500, "", r#"{"error": {"message": "out of memory"}}"#),
            "answered with HTTP 500: out of memory",
            2,
        ),
        (Fault::Status(502, "", "<html>Bad\u{1b}[31m\nGateway"), "answered with HTTP 502: <html>Bad", 2),
        (Fault::Status(503, "", ""), "answered with HTTP 503", 2),
        (
            Fault::Status(400, "", r#"{"error": {"message": "no such thing"}}"#),
            "answered with HTTP 400: no such thing",
            1,
        ),
        (Fault::Status(404, "", r#"{"detail": "Not Found"}"#), "answered with HTTP 404: Not Found", 1),
        (
            Fault::Status(401, "", r#"{"error": {"message": "who are you?"}}"#),
            "denies access (HTTP 401): who are you?",
            1,
        ),
        (Fault::Status(403, "", ""), "denies access (HTTP 403)", 1),
        (Fault::Status(302, "Location: http://127.0.0.1:1/", ""), "answered with HTTP 302", 1),
        (Fault::Status(204, "", ""), "answered with HTTP 204", 1),
        (Fault::Says("<html>Welcome"), "answered with what is no JSON", 2),
        (Fault::Says(""), "answered with what is no JSON", 2),
        (Fault::Says("[]"), "answered with no `tokens`", 2),
        (Fault::Says("null"), "answered with no `tokens`", 2),
        (Fault::Says(r#"{"content": " girl"}"#), "answered with no `tokens`", 2),
        (Fault::Says(r#"{"tokens": 3, "completion_probabilities": []}"#), "answered with no `tokens`", 2),
        (Fault::Says(r#"{"tokens": [NaN]}"#), "answered with what is no JSON", 2),
        // Without an error at the first request, another one is sent that forces a token.
        (Fault::Says(r#"{"tokens": []}"#), "answered with no log-probabilities", 2),
        (changed(|answer| answer["completion_probabilities"] = json!([])), "answered with no log-probabilities", 2),
        (top(|top| top.truncate(3)), "answered with 3 log-probabilities of 200 that were asked for", 2),
        (top(Vec::clear), "answered with no log-probabilities", 2),
        (top(|top| top[1] = top[0].clone()), "twice at one position", 2),
        (top(|top| top[0]["logprob"] = json!(null)), "answered with the log-probability null", 2),
        (top(|top| top[0]["logprob"] = json!("NaN")), "answered with the log-probability \"NaN\"", 2),
        (top(|top| top[0]["logprob"] = json!(0.7)), "answered with a log-probability of 0.7", 2),
        (top(|top| top[0]["id"] = json!("x")), "answered with the id \"x\"", 2),
        (top(|top| top[0]["id"] = json!(1.5)), "answered with the id 1.5", 2),
        (
            top(|top| top.iter_mut().for_each(|entry| entry["logprob"] = json!(-0.1))),
            "answered with probabilities that add up to",
            2,
        ),
        (
            top(|top| top.iter_mut().enumerate().for_each(|(i, entry)| entry["id"] = json!(100_000 + i))),
            "has another tokenizer than the small models",
            1,
        ),
        (
            top(|top| top.iter_mut().enumerate().for_each(|(i, entry)| entry["id"] = json!(-1 - i as i64))),
            "has another tokenizer than the small models",
            1,
        ),
        (
            changed(|answer| answer["model"] = json!("another")),
            "the server changed its model: it was \"base\", and is \"another\"",
            1,
        ),
        (top(|top| top[0]["logprob"] = json!("x".repeat(1 << 20))), "answered with the log-probability", 2),
    ];
    for (fault, words, n_tries) in cases {
        server.clear();
        server.always(LOOK, 3, fault.clone());
        let (code, text, said) = ask(&server.url, &["--base-retries", "1"]);
        let words_are_there = error(&said).contains(words);
        assert!(code == Some(1) && words_are_there, "{fault:?}: {code:?} {said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
        assert_eq!(n_looks(&server), 3 + n_tries, "{fault:?}: {said}");
        // Three tokens, and nothing of the base alone.
        let text = text.trim_end();
        assert!(!text.is_empty() && right.starts_with(text), "{fault:?}: {text:?}");
    }
}

/// Ids that only the base has, as in a vocabulary that is padded: they are never chosen, and counted.
#[test]
fn ids_that_the_small_models_do_not_have_are_left_out_and_counted() {
    let right = right();
    let server = faulty();
    let padded = top(|top| top.last_mut().expect("the last")["id"] = json!(1 << 20));
    server.always(LOOK, 0, padded);
    let args = ["generate", "-R", "demo", "--temp", "0", "--repeat-penalty", "1.0", "--deterministic", "-c", "256"];
    let more = ["-p", PROMPT, "-n", "6", "--base-logprobs", "200", "--base-ahead", "1", "--base-url", &server.url];
    let output = super::run_with_key(&[&args[..], &more].concat(), None);
    let said = crate::command_line::stderr(&output);
    assert!(said.contains("6 entries stand for no one token and were left out"), "{said}");
    assert_eq!(crate::command_line::stdout(&output), right);
}

#[test]
fn as_many_tries_as_are_asked_for() {
    let server = faulty();
    for (retries, n) in [("0", 1), ("1", 2), ("2", 3)] {
        server.clear();
        server.always(LOOK, 0, Fault::Silent);
        let (code, text, said) = ask(&server.url, &["--base-retries", retries]);
        assert_eq!((code, text.as_str(), n_looks(&server)), (Some(1), "", n), "{said}");
        assert_eq!(said.contains(&format!("that was try {n}")), n > 1, "{said}");
    }
}

/// A server that listens and says nothing is given up, whatever it was asked.
#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let server = faulty();
    for path in ["/props", LOOK] {
        server.clear();
        server.always(path, 0, Fault::Stall);
        let (code, text, said) = ask(&server.url, &["--base-timeout", "1", "--base-retries", "0"]);
        assert_eq!((code, text.as_str(), server.requests(path).len()), (Some(1), "", 1), "{said}");
        assert!(error(&said).contains("said nothing for 1 s") && said.contains("--base-timeout"), "{said}");
    }
    // With all its tries no request takes more than twice as long.
    server.clear();
    server.always(LOOK, 0, Fault::Stall);
    let (code, _, said) = ask(&server.url, &["--base-timeout", "1", "--base-retries", "100"]);
    assert_eq!((code, n_looks(&server)), (Some(1), 2), "{said}");
}

#[test]
fn nobody_listens() {
    let url = {
        let server = BaseServer::start(|_| (200, String::new()));
        server.url.clone()
    };
    let (code, text, said) = ask(&url, &["--base-retries", "1"]);
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert!(
        error(&said).contains("nobody listens there; that was try 2") && said.contains("hint: check the address"),
        "{said}"
    );
}

#[test]
fn what_is_no_server_of_models_is_refused() {
    let nothing = json!({}).to_string();
    for (reply, words) in [
        ((404, nothing.clone()), "speaks none of llama-server, vllm, openai"),
        ((200, nothing), "speaks none of llama-server, vllm, openai"),
        ((200, "<html>".to_owned()), "speaks none of llama-server, vllm, openai"),
        ((500, String::new()), "answered with HTTP 500"),
        ((401, String::new()), "denies access"),
    ] {
        let server = BaseServer::start(move |_| reply.clone());
        let (code, text, said) = ask(&server.url, &["--base-retries", "0"]);
        assert!(code == Some(1) && text.is_empty() && error(&said).contains(words), "{code:?} {said}");
    }
    // It speaks, but not HTTP.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Read::read(&mut stream, &mut [0; 1 << 12]);
            let _ = std::io::Write::write_all(&mut stream, b"220 mail.example ESMTP\r\n");
        }
    });
    let (code, _, said) = ask(&url, &["--base-retries", "0"]);
    assert!(code == Some(1) && error(&said).contains(&url), "{said}");
}

/// One token of 4096 that the server spells otherwise is found, and named, even where it lacks a space alone.
#[test]
fn another_tokenizer_is_refused_by_the_token_that_differs() {
    const TOKEN: i64 = 886;
    let base = base();
    let spelled = move |ids: &[i64]| {
        let body = json!({"tokens": ids}).to_string();
        base.send("/detokenize", &body).json()["content"].as_str().expect("a text").to_owned()
    };
    let real = super::base();
    let server = BaseServer::start(move |request| {
        if request.path != "/detokenize" {
            return answer(&real, request);
        }
        let asked: Value = serde_json::from_str(&request.body).expect("JSON");
        let ids: Vec<i64> = asked["tokens"].as_array().expect("ids").iter().filter_map(Value::as_i64).collect();
        let at = ids.iter().position(|id| *id == TOKEN).unwrap_or(ids.len());
        let mut text = spelled(&ids[..at]);
        if at < ids.len() {
            text += &("girl".to_owned() + &spelled(&ids[at + 1..]));
        }
        (200, json!({"content": text}).to_string())
    });
    let (code, text, said) = ask(&server.url, &[]);
    assert_eq!((code, text.as_str(), n_looks(&server)), (Some(1), "", 0));
    assert!(error(&said).contains("token 886 is \"girl\" there and \" girl\" here"), "{said}");
    assert!(said.contains("--base-tokenizer"), "{said}");

    let server = faulty();
    server.always("/v1/models", 0, changed(|listed| listed["data"][0]["meta"]["n_vocab"] = json!(4000)));
    let (code, _, said) = ask(&server.url, &[]);
    assert!(code == Some(1) && error(&said).contains("its vocabulary ends at 4000, and token 4000 is "), "{said}");
}

/// What a server calls its models acts on no terminal.
#[test]
fn names_of_models_are_shown_plainly() {
    let server = faulty();
    let name = "a\u{1b}[31m\u{202e}\n";
    let two = changed(move |listed| {
        let second = listed["data"][0].clone();
        listed["data"][0]["id"] = json!(name);
        listed["data"].as_array_mut().expect("models").push(second);
    });
    server.always("/v1/models", 0, two.clone());
    for more in [&[][..], &["--base-model", "b"]] {
        let (code, _, said) = ask(&server.url, more);
        assert!(code == Some(1) && error(&said).contains("a\\u{1b}[31m"), "{said:?}");
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
    }
}

/// Where a server samples, its token is believed, and nothing else: a missing one is an error.
#[test]
fn a_server_that_draws_no_token_is_an_error() {
    let right = generated(&["-p", PROMPT, "-n", "6", "--base-url", &base().url, "--base-exact"]);
    let server = faulty();
    let ask = || {
        let args = ["-p", PROMPT, "-n", "6", "--base-url", &server.url, "--base-exact", "--base-retries", "1"];
        tried(&args, None)
    };
    for fault in [Fault::Silent, Fault::Cut, Fault::Says("{}"), Fault::Status(503, "", "")] {
        server.clear();
        server.next(LOOK, [Fault::None, fault.clone()]);
        assert_eq!(ask(), (Some(0), right.clone(), String::new()), "{fault:?}");
    }
    for (fault, words) in [
        (changed(|answer| answer["tokens"] = json!([])), "answered with no token"),
        (changed(|answer| answer["tokens"] = json!([-1])), "answered with no token"),
        (changed(|answer| answer["tokens"] = json!([100_000])), "answered with no token of the small models"),
        (changed(|answer| answer["tokens"] = json!(null)), "answered with no `tokens`"),
        (changed(|answer| answer["model"] = json!("another")), "the server changed its model"),
    ] {
        server.clear();
        server.always(LOOK, 2, fault.clone());
        let (code, text, said) = ask();
        assert!(code == Some(1) && error(&said).contains(words), "{words}: {code:?} {said}");
        assert!(!text.trim().is_empty() && right.starts_with(text.trim_end()), "{text:?}");
    }
}

/// One text's failure is none of the others': a server goes on, and says what was wrong.
#[test]
fn a_server_whose_base_fails_tells_its_clients_and_goes_on() {
    let server = faulty();
    let args = ["-R", "demo", "--temp", "0", "-c", "256", "-np", "2", "--base-retries", "0", "--base-url", &server.url];
    let top = crate::server_process::Server::start(&args);
    let asked = || top.post("/v1/completions", &json!({"prompt": PROMPT, "max_tokens": 4}));
    let before = asked().ok()["choices"][0]["text"].clone();
    server.always(LOOK, 0, Fault::Status(500, "", r#"{"error": {"message": "out of memory"}}"#));
    let failed = asked();
    assert!(failed.status >= 500, "{failed:?}");
    assert!(failed.error(failed.status).2.contains("HTTP 500: out of memory"), "{failed:?}");
    server.clear();
    assert_eq!(asked().ok()["choices"][0]["text"], before);
}
