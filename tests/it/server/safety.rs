//! What clients send that they should not, and who may ask at all.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::with;
use crate::raw::{Raw, get, post};
use crate::server_process::Server;

const DEMO: [&str; 6] = ["-R", "demo", "--temp", "0", "-c", "512"];

fn server(more: &[&str]) -> Server {
    Server::start(&[&DEMO, more].concat())
}

/// In place of a status where the connection ends without one.
const CLOSED: u16 = 0;

/// What is answered to bytes on a connection of their own.
fn status(server: &Server, bytes: impl AsRef<[u8]>) -> u16 {
    let mut raw = Raw::connect(server);
    raw.send(bytes);
    raw.answer().map_or(CLOSED, |answer| answer.status)
}

fn is_healthy(server: &Server) {
    let mut raw = Raw::connect(server);
    raw.send(get("/health", &[]));
    assert_eq!(raw.answer().expect("an answer").status, 200);
}

#[test]
fn what_is_no_request_is_refused_and_harms_nobody() {
    let server = server(&[]);
    let chat = |headers: &[&str], body: &str| post("/v1/chat/completions", headers, body);
    let many = vec!["X-Filler: 1"; 200];
    let long = format!("X-Filler: {}", "a".repeat(100 << 10));
    let refused: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("no HTTP", b"hello\r\n\r\n".to_vec(), &[400]),
        ("another protocol", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[400]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[CLOSED]),
        ("no version", b"GET /health\r\n\r\n".to_vec(), &[400]),
        ("a version that is none", b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n".to_vec(), &[400]),
        ("a NUL in the path", b"GET /health\0 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), &[400]),
        ("a NUL in a header", get("/health", &["X-A: a\0b"]).into_bytes(), &[400]),
        ("a header without a colon", get("/health", &["X-A"]).into_bytes(), &[400]),
        ("a space before the colon", get("/health", &["X-A : 1"]).into_bytes(), &[400]),
        ("a folded header", get("/health", &["X-A: 1", " 2"]).into_bytes(), &[400]),
        ("many headers", get("/health", &many).into_bytes(), &[431]),
        ("a long header", get("/health", &[&long]).into_bytes(), &[431]),
        ("a long path", get(&format!("/{}", "a".repeat(100 << 10)), &[]).into_bytes(), &[414, 431]),
        ("two lengths", chat(&["Content-Length: 3"], "{}").into_bytes(), &[400]),
        ("a length that is no number", get("/health", &["Content-Length: 3x"]).into_bytes(), &[400]),
        ("a negative length", get("/health", &["Content-Length: -3"]).into_bytes(), &[400]),
        ("a length above all numbers", get("/health", &["Content-Length: 99999999999999999999"]).into_bytes(), &[400]),
        ("a length and chunks", chat(&["Transfer-Encoding: chunked"], "0\r\n\r\n").into_bytes(), &[400]),
        ("a coding that is not known", get("/health", &["Transfer-Encoding: gzip"]).into_bytes(), &[400]),
        ("chunks, hidden", get("/health", &["Transfer-Encoding: chunked, identity"]).into_bytes(), &[400]),
        ("no host", b"GET /health HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("two hosts", get("/health", &["Host: localhost"]).into_bytes(), &[400]),
        ("dots in the path", get("/v1/../health", &[]).into_bytes(), &[404]),
        ("dots, encoded", get("/%2e%2e/%2e%2e/etc/passwd", &[]).into_bytes(), &[404]),
        ("a slash, encoded", get("/v1%2fmodels", &[]).into_bytes(), &[404]),
        ("two slashes", get("//health", &[]).into_bytes(), &[404]),
        ("a NUL, encoded", get("/health%00", &[]).into_bytes(), &[404]),
        ("a file", get("/models/demo/base.gguf", &[]).into_bytes(), &[404]),
        ("another host's", get("http://evil.example/health", &[]).into_bytes(), &[403]),
        ("a tunnel", b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), &[400, 404, 405]),
        ("another method", b"DELETE /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), &[405]),
        ("no body", chat(&[], "").into_bytes(), &[400]),
        ("no JSON", chat(&[], "{\"messages\": [").into_bytes(), &[400]),
        ("no object", chat(&[], "[]").into_bytes(), &[400]),
        ("no UTF-8", [chat(&[], "").replace("th: 0", "th: 11").as_bytes(), b"{\"a\": \"\xff\xfe\"}"].concat(), &[400]),
        ("half a surrogate", chat(&[], r#"{"messages": "\ud800"}"#).into_bytes(), &[400]),
        ("a number above all", chat(&[], r#"{"messages": 1e99999}"#).into_bytes(), &[400]),
        ("brackets without end", chat(&[], &"[".repeat(1 << 20)).into_bytes(), &[400]),
        ("objects without end", chat(&[], &r#"{"a":"#.repeat(1 << 18)).into_bytes(), &[400]),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, expected) in refused {
        let status = status(&server, bytes);
        if !expected.contains(&status) {
            wrong.push(format!("{what}: {status}, expected {expected:?}"));
        }
        is_healthy(&server);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let taken: Vec<(&str, Vec<u8>)> = vec![
        ("as for a proxy", get("http://localhost/health", &[]).into_bytes()),
        ("an older version", b"GET /health HTTP/1.0\r\n\r\n".to_vec()),
        ("a query", get("/health?x=%00../", &[]).into_bytes()),
        ("an odd header", get("/health", &["X-A: \u{e9}\u{4e00}"]).into_bytes()),
    ];
    for (what, bytes) in taken {
        assert_eq!(status(&server, bytes), 200, "{what}");
    }
    // A request that is hidden in what may be a body is none.
    let mut raw = Raw::connect(&server);
    raw.send(chat(&["Transfer-Encoding: chunked"], &format!("0\r\n\r\n{}", get("/health", &[]))));
    assert_eq!(raw.answer().map(|answer| answer.status), Some(400));
    assert_eq!(raw.rest(), "");
    // One after the other, without waiting, and what is behind a body is a request of its own.
    let mut raw = Raw::connect(&server);
    raw.send([get("/health", &[]), post("/v1/nothing", &[], "{}"), get("/v1/models", &[])].concat());
    let statuses = [(); 3].map(|()| raw.answer().expect("an answer").status);
    assert_eq!(statuses, [200, 404, 200]);
}

#[test]
fn bodies_have_a_size_and_a_time() {
    let server = server(&["--timeout", "1"]);
    let path = "/v1/chat/completions";
    let head = |headers: &str| format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    let answer = |raw: &mut Raw| {
        let answer = raw.answer().expect("an answer");
        (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let too_large = (413, "request_too_large".to_owned());

    // Refused for what it announces: the client is not told to go on.
    let mut raw = Raw::connect(&server);
    raw.send(head("Content-Length: 100000000\r\nExpect: 100-continue\r\n"));
    assert_eq!(answer(&mut raw), too_large);
    // One that sends at once sees the answer all the same.
    let mut raw = Raw::connect(&server);
    raw.send(head("Content-Length: 20000000\r\n"));
    raw.send(vec![b' '; 20_000_000]);
    assert_eq!(answer(&mut raw), too_large);
    // In chunks, of which nobody knows how many there will be.
    let mut raw = Raw::connect(&server);
    raw.send(head("Transfer-Encoding: chunked\r\n"));
    let piece = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    (0..20).all(|_| raw.send(&piece));
    raw.send("0\r\n\r\n");
    assert_eq!(answer(&mut raw), too_large);
    // Told to go on, and then answered.
    let mut raw = Raw::connect(&server);
    raw.send(head("Content-Length: 2\r\nExpect: 100-continue\r\n"));
    assert_eq!(raw.answer().expect("an answer").status, 100);
    raw.send("{}");
    assert_eq!(answer(&mut raw).0, 400);

    // Half a body, half of the headers, nothing at all, and nothing behind an answer.
    let mut raw = Raw::connect(&server);
    raw.send(head("Content-Length: 100\r\n") + "{");
    assert_eq!(answer(&mut raw), (408, "request_timeout".to_owned()));
    for begun in ["POST /v1/chat/completions HTTP/1.1\r\nHost: loc", ""] {
        let mut raw = Raw::connect(&server);
        raw.send(begun);
        assert_eq!(raw.rest(), "");
    }
    let mut raw = Raw::connect(&server);
    raw.send(get("/health", &[]));
    assert_eq!(raw.answer().expect("an answer").status, 200);
    assert_eq!(raw.rest(), "");
    is_healthy(&server);
}

#[test]
fn whoever_has_no_key_is_let_in_nowhere_but_where_nothing_is_to_be_had() {
    let server = server(&["--api-key", "first,second", "--api-prefix", "/llm"]);
    let status = |path: &str, headers: &[&str]| {
        let mut raw = Raw::connect(&server);
        raw.send(get(path, headers));
        raw.answer().expect("an answer")
    };
    for path in ["/llm/health", "/llm/v1/models"] {
        assert_eq!(status(path, &[]).status, 200, "{path}");
    }
    let is_open = |headers: &[&str]| status("/llm/openapi.json", headers).status;
    let keys: [(&[&str], u16); 13] = [
        (&[], 401),
        (&["Authorization: Bearer first"], 200),
        (&["authorization: bearer second"], 200),
        (&["X-Api-Key: second"], 200),
        (&["Authorization: Bearer none", "X-Api-Key: first"], 200),
        (&["Authorization: Bearer firs"], 401),
        (&["Authorization: Bearer firstsecond"], 401),
        (&["Authorization: Bearer first,second"], 401),
        (&["Authorization: Bearer "], 401),
        (&["Authorization: Basic first"], 401),
        (&["Authorization: first"], 401),
        (&["X-Api-Key: FIRST"], 401),
        (&["X-Api-Key:"], 401),
    ];
    for (headers, expected) in keys {
        assert_eq!(is_open(headers), expected, "{headers:?}");
    }
    assert_eq!(status("/llm/openapi.json?api_key=first", &[]).status, 401);
    // Without the prefix nothing is there, and one with a key sees as much.
    assert_eq!(status("/health", &[]).status, 404);
    assert_eq!(status("/openapi.json", &[]).status, 401);
    assert_eq!(status("/openapi.json", &["X-Api-Key: first"]).status, 404);
    let refused = status("/llm/openapi.json", &["X-Api-Key: wrong"]);
    assert_eq!(refused.json()["error"]["type"], "authentication_error");
    assert!(!refused.body.contains("wrong") && !refused.body.contains("first"), "{}", refused.body);
    let mut raw = Raw::connect(&server);
    raw.post("/llm/v1/chat/completions", &json!({"messages": []}));
    assert_eq!(raw.answer().expect("an answer").status, 401);
}

fn asked(server: &Server, request: &str) -> crate::raw::Answer {
    let mut raw = Raw::connect(server);
    raw.send(request);
    raw.answer().expect("an answer")
}

#[test]
fn pages_of_others_may_not_use_the_server_unless_they_are_named() {
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,content-type\r\n\r\n"
        )
    };
    let from = |origin: &str| post("/v1/chat/completions", &[&format!("Origin: {origin}")], "{}");
    let allowed = "access-control-allow-origin";

    let closed = server(&[]);
    assert_eq!(asked(&closed, &preflight("https://a.example")).header(allowed), "");
    let answer = asked(&closed, &from("https://a.example"));
    assert_eq!((answer.status, answer.header(allowed)), (403, ""), "{answer:?}");
    assert_eq!(asked(&closed, &from("null")).status, 403);
    // Its own page, and a program; both are told what is wrong with the body.
    assert_eq!(asked(&closed, &from("http://localhost")).status, 400);
    assert_eq!(asked(&closed, &from("http://localhost:81")).status, 403);
    assert_eq!(asked(&closed, &post("/v1/chat/completions", &[], "{}")).status, 400);
    let answer = asked(&closed, &get("/health", &["Origin: https://a.example"]));
    assert_eq!((answer.status, answer.header(allowed)), (200, ""));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");

    let named = server(&["--cors-origins", "https://a.example,http://localhost:3000"]);
    let answer = asked(&named, &preflight("https://a.example"));
    assert_eq!((answer.status, answer.header(allowed)), (200, "https://a.example"), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-headers"), "authorization,content-type");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    for origin in ["https://b.example", "https://a.example.evil.example", "http://a.example", "null"] {
        assert_eq!(asked(&named, &preflight(origin)).header(allowed), "", "{origin}");
        assert_eq!(asked(&named, &from(origin)).status, 403, "{origin}");
    }
    // A page that may ask reads errors too.
    let answer = asked(&named, &from("http://localhost:3000"));
    assert_eq!((answer.status, answer.header(allowed)), (400, "http://localhost:3000"), "{answer:?}");

    let all = server(&["--cors-origins", "*", "--api-key", "secret"]);
    let answer = asked(&all, &preflight("https://b.example"));
    assert_eq!((answer.status, answer.header(allowed)), (200, "*"), "{answer:?}");
    let answer = asked(&all, &from("https://b.example"));
    assert_eq!((answer.status, answer.header(allowed)), (401, "*"), "{answer:?}");
}

#[test]
fn a_name_that_is_not_this_machines_is_no_name_of_the_server() {
    let host = |host: &str| format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let local = server(&[]);
    for (name, status) in [
        ("localhost:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:1", 200),
        ("evil.example", 403),
        ("evil.example:80", 403),
        ("localhost.evil.example", 403),
        ("192.168.0.1", 403),
        ("", 403),
    ] {
        assert_eq!(asked(&local, &host(name)).status, status, "{name:?}");
    }
    let refused = asked(&local, &host("box.example:80"));
    let message = refused.json()["error"]["message"].as_str().expect("a message").to_owned();
    assert!(message.ends_with("--allowed-hosts box.example makes it one"), "{message}");
    let named = server(&["--allowed-hosts", "Box.example"]);
    let statuses = ["box.example:80", "evil.example"].map(|name| asked(&named, &host(name)).status);
    assert_eq!(statuses, [200, 403]);
    let any = server(&["--allowed-hosts", "*"]);
    assert_eq!(asked(&any, &host("evil.example")).status, 200);
}

#[test]
fn an_error_does_not_send_back_what_was_sent() {
    let server = server(&[]);
    let long = "x".repeat(2_000_000);
    let message = json!({"role": "user", "content": "a"});
    let with = |more: Value| with(json!({"messages": [message], "max_tokens": 1}), more);
    let bodies = [
        with(json!({"model": long})),
        with(json!({"model": [long]})),
        with(json!({"temperature": long})),
        with(json!({"top_k": [long]})),
        with(json!({"stop": [1, long]})),
        with(json!({"stop": {"a": long}})),
        with(json!({"stream": long})),
        with(json!({"n": long})),
        with(json!({"samplers": [long]})),
        with(json!({"logit_bias": {"1": long}})),
        with(json!({"logit_bias": {long.clone(): 1}})),
        with(json!({"dry_sequence_breakers": [long]})),
        with(json!({"grammar": long})),
        with(json!({"json_schema": long})),
        with(json!({"response_format": {"type": long}})),
        with(json!({"proxy": {"alpha": long}})),
        with(json!({"proxy": {long.clone(): 1}})),
        with(json!({"proxy": {"pairs": {long.clone(): 1}}})),
        with(json!({"messages": [{"role": long, "content": "a"}]})),
        with(json!({"messages": [{"role": "user", "content": {"a": long}}]})),
        with(json!({"messages": [{"role": "user", "content": [{"type": long}]}]})),
    ];
    for body in bodies {
        let field = body.to_string().chars().take(60).collect::<String>();
        let reply = server.post("/v1/chat/completions", &body);
        assert!((400..500).contains(&reply.status), "{field}: {}", reply.status);
        assert!(reply.text.len() < 4096, "{field}: {} bytes", reply.text.len());
        reply.error(reply.status);
    }
    let reply = server.post("/v1/completions", &json!({"prompt": {"a": long}}));
    assert!(reply.text.len() < 4096);
    let reply = asked(&server, &get(&format!("/{}", "a".repeat(8000)), &[]));
    assert!(reply.status == 404 && reply.body.len() < 4096);
    is_healthy(&server);
}

/// What would take more memory, stack or time than there is, were it done.
#[test]
fn what_is_asked_for_has_limits_and_no_grammar_ends_the_engine() {
    let server = server(&[]);
    let chat = |more: Value| with(json!({"messages": [{"role": "user", "content": "a"}], "max_tokens": 2}), more);
    let round = json!({"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}});
    let inside = json!({"a": {"type": "object", "properties": {"x": {"allOf": [{"$ref": "#/$defs/a"}, {}]}}}});
    let doubled: serde_json::Map<String, Value> = (0..700)
        .map(|i| (format!("d{i}"), json!({"anyOf": vec![json!({"$ref": format!("#/$defs/d{}", i + 1)}); 2]})))
        .chain([("d700".to_owned(), json!({"type": "integer"}))])
        .collect();
    let properties: serde_json::Map<String, Value> = (0..3000).map(|i| (format!("p{i}"), json!({}))).collect();
    let deep = (0..100).fold(json!({}), |inner, _| json!({"type": "array", "items": inner}));
    let biases: serde_json::Map<String, Value> = (0..100_000).map(|i| (i.to_string(), json!(1))).collect();
    let texts: Vec<Value> = (0..1000).map(|i| json!([format!("text {i}"), 1])).collect();
    let refused = [
        json!({"stop": vec!["@@"; 1000]}),
        json!({"stop": "@".repeat(2000)}),
        json!({"dry_sequence_breakers": vec!["a"; 100]}),
        json!({"samplers": vec!["top_k"; 1000]}),
        json!({"samplers": "k".repeat(1000)}),
        json!({"logit_bias": biases}),
        json!({"logit_bias": texts}),
        json!({"logit_bias": {"x".repeat(1000): 1}}),
        json!({"logit_bias": {"99999999": 1}}),
        json!({"logit_bias": {"1": 1e9}}),
        json!({"top_logprobs": 1_000_000}),
        json!({"n": 129}),
        json!({"n": 128, "padding": "x".repeat(1 << 20)}),
        json!({"max_tokens": -2}),
        json!({"temperature": 1e99}),
        json!({"seed": "x"}),
        json!({"messages": vec![json!({"role": "user", "content": "a"}); 10_000]}),
        json!({"messages": [{"role": "user", "content": "word ".repeat(1 << 20)}]}),
        json!({"grammar": "root ::= ".to_owned() + &"(".repeat(5000)}),
        json!({"grammar": "a".repeat(100_000)}),
        json!({"grammar": "root ::= \"a\"{5,2}"}),
        json!({"grammar": "root ::= s root \"b\" | \"c\"\ns ::= t t\nt ::= \"a\"?"}),
        json!({"grammar": "root ::= ".to_owned() + &"\"a\"? ".repeat(5000)}),
        json!({"grammar": "root ::= ".to_owned() + &"(\"a\"){0,2000} ".repeat(400)}),
        json!({"grammar": "root ::= ".to_owned() + &"(".repeat(200) + "\"a\"" + &")+".repeat(200)}),
        json!({"json_schema": {"allOf": [{"$ref": "#/$defs/a"}], "$defs": round}}),
        json!({"json_schema": {"$ref": "../../etc/passwd"}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {"allOf": [{"$ref": "#"}]}}}}),
    ];
    for more in refused {
        let what: String = more.to_string().chars().take(60).collect();
        let reply = server.post("/v1/chat/completions", &chat(more));
        assert_eq!(reply.status, 400, "{what}: {reply:?}");
    }
    let refused = server.post("/v1/completions", &json!({"prompt": vec!["a"; 1000], "n": 2}));
    assert_eq!(refused.error(400).1, "n");
    assert_eq!(server.post("/v1/completions", &json!({"prompt": vec!["a"; 2000]})).status, 400);
    // Whether these can be kept or not, they end soon.
    let hard = [
        json!({"json_schema": deep}),
        json!({"json_schema": {"$ref": "#/$defs/a", "$defs": inside}}),
        json!({"json_schema": {"$ref": "#/$defs/d0", "$defs": doubled}}),
        json!({"json_schema": {"type": "object", "properties": properties}}),
        json!({"json_schema": {"type": "object", "properties": {"a".repeat(50_000): {}}, "additionalProperties": true}}),
        json!({"json_schema": {"type": "string", "pattern": "^(".to_owned() + &"a?".repeat(5000) + "b)$"}}),
        json!({"regex": "(".repeat(2000) + "a" + &")+".repeat(2000)}),
        json!({"regex": "((a{999}){999}){999}"}),
    ];
    for more in hard {
        let what: String = more.to_string().chars().take(60).collect();
        let began = Instant::now();
        let reply = server.post("/v1/chat/completions", &chat(more));
        assert!([200, 400].contains(&reply.status), "{what}: {reply:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{what}: {:?}", began.elapsed());
    }
    let taken = [
        json!({"grammar": "root ::= (\"a\" | \"b\")+"}),
        json!({"json_schema": {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {
            "x": {"allOf": [{"$ref": "#/$defs/a"}]}}}}}}),
        json!({"stop": vec!["@"; 128]}),
        json!({"logit_bias": {"a": 1, "5": -1}}),
    ];
    for more in taken {
        server.post("/v1/chat/completions", &chat(more)).ok();
    }
    let health = server.get("/health").ok();
    assert_eq!(health["n_restarts"], 0, "{health}");
}

#[test]
fn connections_that_stall_give_way_to_one_that_talks() {
    let server = server(&["--max-connections", "16"]);
    let mut stalled: Vec<Raw> = (0..100).map(|_| Raw::connect(&server)).collect();
    for (i, raw) in stalled.iter_mut().enumerate() {
        let body = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{";
        raw.send(["GET /health HTTP/1.1\r\nHost: lo", "", body][i % 3]);
    }
    let mut kept = Raw::connect(&server);
    for _ in 0..50 {
        is_healthy(&server);
    }
    // One that was silent for a shorter time than they keeps its place.
    kept.send(get("/health", &[]));
    assert_eq!(kept.answer().map(|answer| answer.status), Some(200));
    // One that is answered keeps it in any case.
    let mut stream = Raw::connect(&server);
    stream.post(
        "/v1/chat/completions",
        &json!({
            "messages": [{"role": "user", "content": "a"}], "ignore_eos": true, "max_tokens": 400, "stream": true,
        }),
    );
    stream.until("\"content\":\"").expect("a token");
    for _ in 0..50 {
        is_healthy(&server);
    }
    assert!(stream.until("[DONE]").is_some());
    drop(stalled);
}
