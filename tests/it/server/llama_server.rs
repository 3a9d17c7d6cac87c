//! What llama-server answers, and what this server does.
//!
//! `llama_server.jsonl` holds requests and llama-server's replies to them, one a line, as `tests/clients/llama_server/record.py`
//! wrote them down. Each request is sent here too, and what clients read of the two replies is compared: texts, tokens, reasons
//! for the end, counts and statuses have to be equal, log-probabilities within 1e-4. What differs is listed in [`DIFFERENCES`]
//! with the reason; a difference that is not listed fails the test, and so does a listed one that is not there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::server_process::{Reply, Server};
use crate::trio::file;

const RECORDED: &str = include_str!("llama_server.jsonl");
const TOLERANCE: f64 = 1e-4;

/// Why replies differ, what of them differs, and to which requests.
const DIFFERENCES: &[(&str, &[&str], &[&str])] = &[
    (
        "400, as the request is at fault",
        &["status"],
        &[
            "tokenize a number",
            "detokenize text",
            "detokenize no token",
            "an empty body",
            "no JSON",
            "legacy with an empty body",
            "chat without a role",
            "chat with a picture",
        ],
    ),
    ("405, as the path is there", &["status"], &["a completion that is read"]),
    (
        "a value out of its range is refused, and not changed to another one",
        &["status"],
        &["top_p out of range", "temperature below 0"],
    ),
    (
        "what is not there is refused, and not passed over",
        &["status"],
        &["logit bias of no token", "a sampler that is not there", "an unknown model", "an adapter that is not there"],
    ),
    (
        "what is not done is refused, and not passed over",
        &["status"],
        &["probabilities after sampling", "legacy with best of two", "chat without a new turn"],
    ),
    ("texts are not bound to the number of slots", &["status"], &["two choices"]),
    ("a list without breakers has none", &["status"], &["breakers of no list"]),
    ("a message has to say something", &["status"], &["chat with content of null", "chat of nothing"]),
    ("the last answer is gone on with", &["status"], &["chat with two answers at its end"]),
    ("the grammar holds, as at /completion", &["status"], &["chat with grammar and schema"]),
    ("0 tokens are none", &["text 0", "tokens_predicted 0"], &["no tokens"]),
    (
        "0 tokens are none",
        &["text 0", "completion_tokens", "total_tokens"],
        &["legacy that ends nowhere", "chat that asks for nothing"],
    ),
    (
        "a text that begins with the name of BOS gets no second one",
        &["prompt 0", "tokens_cached 0", "tokens_evaluated 0"],
        &["names of special tokens"],
    ),
    (
        "an empty stop word stops nothing",
        &["stop_type 0", "text 0", "tokens_cached 0", "tokens_predicted 0"],
        &["empty stop words"],
    ),
    (
        "the last token needs no room, as it is not read any more",
        &["text 0", "tokens_predicted 0", "tokens_cached 0"],
        &["the end of the context"],
    ),
    (
        "0 candidates: the tokens of the text alone, as OpenAI has it",
        &["probs 0"],
        &["legacy with logprobs of nothing"],
    ),
    ("a token is told of even where it is a part of a character", &["probs 0"], &["characters of several tokens"]),
    ("the text is told under vLLM's name too", &["prompt 0"], &["detokenize", "detokenize nothing"]),
    ("no candidates unless they are asked for, as OpenAI has it", &["probs 0"], &["chat with logprobs alone"]),
    (
        "all prompts and texts are counted",
        &["completion_tokens", "prompt_tokens", "total_tokens"],
        &["legacy with several prompts"],
    ),
    ("the prompt is told again", &["text 0"], &["legacy with echo"]),
    (
        "what the answer was made to begin with is not told again",
        &["text 0"],
        &[
            "chat that goes on with an answer",
            "the same in a stream",
            "chat that is told to go on",
            "chat that goes on to a stop word",
        ],
    ),
    (
        "documents are written on one line, and nothing stands in front of them",
        &["text 0"],
        &["chat with a schema", "chat with any object"],
    ),
    (
        "documents are written on one line",
        &["text 0", "has_new_line 0", "stop_type 0", "tokens_cached 0", "tokens_predicted 0"],
        &["a schema"],
    ),
    (
        "documents are written on one line",
        &["completion_tokens", "finish_reason 0", "total_tokens"],
        &["chat with a schema"],
    ),
];

/// What clients read of a reply, by name.
type Facets = BTreeMap<String, Value>;

#[test]
fn replies_are_llama_servers_but_for_the_listed_differences() {
    let base = file("base");
    let base = base.to_str().expect("UTF-8");
    // What was recorded, llama.cpp's kernels have computed.
    let server = Server::start(&["-m", base, "-c", "512", "-np", "1", "--chat-template", "chatml", "--kernels", "off"]);
    let mut found = Vec::new();
    for line in RECORDED.lines() {
        let recorded: Value = serde_json::from_str(line).expect("JSON");
        let name = recorded["name"].as_str().expect("a name").to_owned();
        let theirs = facets(&recorded["reply"]);
        let ours = facets(&seen(&ask(&server, &recorded)));
        // Where the statuses differ nothing else can be alike.
        let status = "status".to_owned();
        let is_answered = ours[&status] == theirs[&status];
        let all: BTreeSet<_> = theirs.keys().chain(ours.keys()).filter(|_| is_answered).chain([&status]).collect();
        let told = |of: &Facets, facet: &String| of.get(facet).cloned().unwrap_or_default();
        let differing: Vec<_> = all
            .into_iter()
            .map(|facet| (facet.clone(), told(&theirs, facet), told(&ours, facet)))
            .filter(|(_, theirs, ours)| !is_alike(theirs, ours))
            .collect();
        found.push((name, differing));
    }
    assert!(found.len() >= 60, "{} requests", found.len());
    let mut listed: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    for (_, facets, names) in DIFFERENCES {
        listed.extend(names.iter().flat_map(|name| facets.iter().map(move |facet| ((*name, *facet), false))));
    }
    let mut wrong = Vec::new();
    for (name, differing) in &found {
        for (facet, theirs, ours) in differing {
            match listed.get_mut(&(name.as_str(), facet.as_str())) {
                Some(is_found) => *is_found = true,
                None => wrong.push(format!("{name}: {facet} is {ours}, and llama-server's is {theirs}")),
            }
        }
    }
    let gone = listed.iter().filter(|(_, is_found)| !**is_found);
    wrong.extend(gone.map(|((name, facet), _)| format!("{name}: {facet} does not differ, and is listed")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn ask(server: &Server, recorded: &Value) -> Reply {
    let path = recorded["path"].as_str().expect("a path");
    match recorded.get("body") {
        None => server.get(path),
        Some(Value::String(body)) => server.send(path, body),
        Some(body) => {
            let mut body = body.clone();
            if let Some(body) = body.as_object_mut() {
                body.insert("proxy".to_owned(), json!({"off": true}));
            }
            server.post(path, &body)
        }
    }
}

/// A reply in the form in which llama-server's are recorded.
fn seen(reply: &Reply) -> Value {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    if reply.text.starts_with("data: ") {
        let data: Vec<_> = reply.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let events: Vec<_> = data.iter().filter(|data| **data != "[DONE]").map(|data| json(data)).collect();
        return json!({"status": reply.status, "done": data.last() == Some(&"[DONE]"), "events": events});
    }
    json!({"status": reply.status, "body": json(&reply.text)})
}

fn facets(reply: &Value) -> Facets {
    let mut facets = Facets::from([("status".to_owned(), reply["status"].clone())]);
    if let Some(events) = reply["events"].as_array() {
        facets.insert("done".to_owned(), reply["done"].clone());
        gather(events, &mut facets);
        return facets;
    }
    let body = &reply["body"];
    if let Some(kind) = body["error"].get("type") {
        facets.insert("error".to_owned(), kind.clone());
        return facets;
    }
    match body {
        Value::Array(texts) => gather(texts, &mut facets),
        body => gather(std::slice::from_ref(body), &mut facets),
    }
    facets
}

/// What is told of each text, in one object or in several: parts of a text in one row, and of the rest what is told last.
fn gather(objects: &[Value], facets: &mut Facets) {
    for object in objects {
        let choices: Vec<&Value> = match object.get("choices") {
            Some(choices) => choices.as_array().into_iter().flatten().collect(),
            None => vec![object],
        };
        for choice in choices {
            let i = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            let mut put = |name: &str, value: &Value| facets.insert(format!("{name} {i}"), value.clone());
            for name in [
                "stop_type",
                "stopping_word",
                "truncated",
                "has_new_line",
                "tokens_predicted",
                "tokens_evaluated",
                "tokens_cached",
                "prompt",
                "finish_reason",
                "generation_settings/n_predict",
                "status",
            ] {
                // In the parts of a stream it is null until it is known.
                if let Some(value) = choice.get(name).filter(|value| !value.is_null()) {
                    put(name, value);
                }
            }
            if let Some(progress) = choice.get("prompt_progress") {
                put("total", &progress["total"]);
                put("processed", &progress["processed"]);
            }
            append_text(choice, &format!("text {i}"), facets);
            let probs = choice.get("completion_probabilities").or_else(|| choice["logprobs"].get("content"));
            append(probs, &format!("probs {i}"), facets);
            // While a prompt is read there are none.
            append(
                choice.get("tokens").filter(|_| choice.get("prompt_progress").is_none()),
                &format!("tokens {i}"),
                facets,
            );
        }
        for (name, count) in object["usage"].as_object().into_iter().flatten().filter(|(_, count)| count.is_number()) {
            facets.insert(name.clone(), count.clone());
        }
    }
}

fn append_text(choice: &Value, name: &str, facets: &mut Facets) {
    let places =
        [choice.get("content"), choice.get("text"), choice["delta"].get("content"), choice["message"].get("content")];
    if let Some(text) = places.into_iter().flatten().find_map(Value::as_str) {
        let sum = facets.get(name).and_then(Value::as_str).unwrap_or_default().to_owned() + text;
        facets.insert(name.to_owned(), json!(sum));
    }
}

fn append(list: Option<&Value>, name: &str, facets: &mut Facets) {
    if let Some(list) = list.and_then(Value::as_array) {
        let mut sum = facets.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        sum.extend(list.iter().map(entry));
        facets.insert(name.to_owned(), json!(sum));
    }
}

/// Of a token with its probability the numbers alone: `token` is what a token is in one server, and what it added to the text in
/// the other.
fn entry(of: &Value) -> Value {
    let number = |of: &Value| json!([of["id"], of["logprob"]]);
    match of["top_logprobs"].as_array() {
        Some(top) => json!([number(of), top.iter().map(number).collect::<Vec<_>>()]),
        None => of.clone(),
    }
}

fn is_alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            a == b || (a.fract() != 0.0 || b.fract() != 0.0) && (a - b).abs() < TOLERANCE
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_alike(a, b)),
        _ => a == b,
    }
}
