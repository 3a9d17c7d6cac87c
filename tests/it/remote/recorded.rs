//! What llama.cpp's llama-server and vLLM answer, as it was written down from them with the demo's base.
//!
//! Left out are the settings, the times and the chat template, of which nothing is read, and paths are shortened.

use serde_json::{Value, json};

use super::{answer, base, generated, run_with_key};
use crate::base_server::{BaseServer, Fault, Request, changed};
use crate::command_line::{json as json_of, stderr, stdout};

const PROPS: &str = include_str!("recorded/llama_server/props.json");
const MODELS: &str = include_str!("recorded/llama_server/models.json");
const COMPLETION: &str = include_str!("recorded/llama_server/completion.json");
/// Two tokens that are one character: nothing is told of the first.
const WITHIN: &str = include_str!("recorded/llama_server/within.json");
/// The same with a letter forced.
const FORCED: &str = include_str!("recorded/llama_server/forced.json");

const VLLM_MODELS: &str = include_str!("recorded/vllm/models.json");
const VERSION: &str = include_str!("recorded/vllm/version.json");
const VLLM_COMPLETION: &str = include_str!("recorded/vllm/completion.json");
/// With two log-probabilities of each token of the prompt.
const SCORED: &str = include_str!("recorded/vllm/scored.json");
/// With the log-probabilities of two ids that were asked for.
const NAMED: &str = include_str!("recorded/vllm/named.json");
/// With words in place of ids.
const TEXT: &str = include_str!("recorded/vllm/text.json");

const PROMPT: &str = "Once upon a time there was a little";
/// Nothing is added to what the base thinks.
const UNSTEERED: [&str; 8] = ["-p", PROMPT, "-n", "2", "--alpha", "0", "--base-logprobs", "3"];

/// Says what is given for a path; what is not is asked of [`base`].
fn replay(answers: &'static [(&str, &str)]) -> BaseServer {
    let base = base();
    BaseServer::start(move |request| match answers.iter().find(|(path, _)| *path == request.path) {
        Some((_, text)) => (200, (*text).to_owned()),
        None if request.path == "/detokenize" => {
            let asked: Value = serde_json::from_str(&request.body).expect("JSON");
            let body = json!({"tokens": asked["tokens"]}).to_string();
            answer(&base, &Request { body, ..request.clone() })
        }
        None => (404, json!({"detail": "Not Found"}).to_string()),
    })
}

fn llama_server() -> BaseServer {
    replay(&[("/props", PROPS), ("/v1/models", MODELS), ("/completion", COMPLETION)])
}

/// The first completion as it is given; then ids are asked for by name, of which each is improbable.
fn vllm(completion: &'static str) -> BaseServer {
    let server = replay(&[("/v1/models", VLLM_MODELS), ("/version", VERSION), ("/v1/completions", NAMED)]);
    let improbable = changed(|answer| {
        let shown = &mut answer["choices"][0]["logprobs"]["top_logprobs"][0];
        *shown = json!({"token_id:10": -14.0, "token_id:20": -15.0});
    });
    server.next("/v1/completions", [Fault::Says(completion), improbable.clone(), improbable]);
    server
}

/// The bodies of the requests for a path.
fn asked(server: &BaseServer, path: &str) -> Vec<Value> {
    server.requests(path).iter().map(|request| serde_json::from_str(&request.body).expect("JSON")).collect()
}

#[test]
fn llama_server_tells_two_positions_in_one_answer() {
    let server = llama_server();
    assert_eq!(generated(&[&UNSTEERED[..], &["--base-url", &server.url]].concat()).trim_end(), " girl named");
    let asked = asked(&server, "/completion");
    let [asked] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(asked["prompt"], json!([0, 2060, 603, 260, 571, 417, 312, 260, 520]));
    assert_eq!((&asked["n_probs"], &asked["return_tokens"]), (&json!(3), &json!(true)));
}

/// Where the answer's first token ends within a character, a second request forces another one.
#[test]
fn llama_server_is_asked_again_where_it_writes_a_part_of_a_character() {
    let server = llama_server();
    server.next("/completion", [WITHIN, FORCED].map(Fault::Says));
    let unsteered = ["-p", PROMPT, "-n", "1", "--alpha", "0", "--base-logprobs", "3"];
    assert_eq!(generated(&[&unsteered[..], &["--base-url", &server.url]].concat()).trim_end(), " girl");
    let asked = asked(&server, "/completion");
    assert_eq!(asked.len(), 2);
    assert_eq!((&asked[1]["n_predict"], &asked[1]["prompt"]), (&json!(1), &asked[0]["prompt"]));
    assert_eq!(asked[1]["logit_bias"].as_array().map(Vec::len), Some(1));
}

#[test]
fn vllm_is_known_by_its_models_and_tells_ids() {
    for (url, more) in [("", &[][..]), ("/v1/", &["--base-api", "vllm"])] {
        let server = vllm(VLLM_COMPLETION);
        // An address with the route in it is the same.
        let url = server.url.clone() + url;
        assert_eq!(generated(&[&UNSTEERED[..], &["--base-url", &url], more].concat()).trim_end(), " girl named");
        let asked = asked(&server, "/v1/completions");
        assert_eq!((&asked[0]["model"], &asked[0]["logprobs"]), (&json!("demo"), &json!(3)));
        assert_eq!(asked[0]["prompt"], json!([0, 2060, 603, 260, 571, 417, 312, 260, 520]));
        assert_eq!(asked.iter().filter(|asked| asked["logprob_token_ids"].is_null()).count(), 1);
        assert_eq!(server.requests("/props").len(), usize::from(more.is_empty()));
    }
}

/// Ids that are not shown and could matter are asked for; of others that a server tells of nobody has asked.
#[test]
fn vllm_tells_ids_by_name() {
    let run = |named: &str| {
        let server = vllm(VLLM_COMPLETION);
        let named: &'static str = String::leak(named.to_owned());
        server.next("/v1/completions", [VLLM_COMPLETION, named].map(Fault::Says));
        let args =
            ["generate", "-R", "demo", "--temp", "0", "--repeat-penalty", "1.0", "-c", "256", "-p", PROMPT, "-n", "1"];
        let more = ["--alpha", "0", "--base-logprobs", "3", "--base-url", &server.url];
        let output = run_with_key(&[&args[..], &more].concat(), None);
        assert_eq!(stdout(&output).trim_end(), " girl");
        let said = stderr(&output);
        assert!(said.contains("1 positions of the base by 2 requests"), "{said}");
        let asked = asked(&server, "/v1/completions");
        let ids: Vec<i64> = serde_json::from_value(asked[1]["logprob_token_ids"].clone()).expect("ids");
        (ids, said)
    };
    let (ids, said) = run(NAMED);
    assert_eq!(ids.len(), 3);
    assert!(!said.contains("by name"), "{said}");
    let named = NAMED.replace("token_id:10\"", &format!("token_id:{}\"", ids[0]));
    let named = named.replace("token_id:20\"", &format!("token_id:{}\"", ids[1]));
    let (_, said) = run(&named);
    assert!(said.contains("2 more of its log-probabilities were asked for by name"), "{said}");
}

/// One request has every token of a text that is scored.
#[test]
fn vllm_scores_a_text_in_one_answer() {
    let server = vllm(SCORED);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("text.txt");
    std::fs::write(&path, PROMPT).expect("writable");
    let args =
        ["perplexity", "-R", "demo", "-f", path.to_str().expect("UTF-8"), "--alpha", "0.5", "-c", "64", "--json"];
    let told = json_of(&[&args[..], &["--base-logprobs", "2", "--base-url", &server.url]].concat());
    let asked = asked(&server, "/v1/completions");
    let [asked] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((&asked["prompt_logprobs"], &asked["max_tokens"]), (&json!(2), &json!(1)));

    // The text's own tokens are told of, even where they are not among the two that are most probable.
    let scored: Value = serde_json::from_str(SCORED).expect("JSON");
    let choice = &scored["choices"][0];
    let prompt = choice["prompt_logprobs"].as_array().expect("positions");
    let ids = [2060, 603, 260, 571, 417, 312, 260];
    let inside =
        ids.iter().zip(&prompt[1..]).map(|(id, shown)| shown[id.to_string()]["logprob"].as_f64().expect("a number"));
    let last = choice["logprobs"]["top_logprobs"][0]["token_id:520"].as_f64().expect("a number");
    let loss = -(inside.sum::<f64>() + last) / 8.0;
    let base = told["results"][0]["nats_per_token"].as_f64().expect("a loss");
    assert!((base - loss).abs() < 1e-4, "{base}, {loss} in the answer");
}

/// In the form of `OpenAI`: words are looked up by their bytes.
#[test]
fn words_are_looked_up_by_their_bytes() {
    let server = vllm(TEXT);
    let args = [&UNSTEERED[..], &["--base-api", "openai", "--base-url", &server.url]].concat();
    assert_eq!(generated(&args).trim_end(), " girl.");
    let asked = asked(&server, "/v1/completions");
    assert_eq!(asked[0]["prompt"], json!(PROMPT));
    assert_eq!(server.requests("/detokenize").len(), 0);
}

#[test]
fn one_of_several_models_has_to_be_named() {
    let server = vllm(VLLM_COMPLETION);
    let mut listed: Value = serde_json::from_str(VLLM_MODELS).expect("JSON");
    let mut other = listed["data"][0].clone();
    other["id"] = json!("other");
    listed["data"].as_array_mut().expect("models").push(other);
    server.always("/v1/models", 0, changed(move |models| models.clone_from(&listed)));
    let args = [&UNSTEERED[..], &["--base-url", &server.url]].concat();
    let (code, _, said) = super::tried(&args, None);
    assert!(code == Some(1) && said.contains("has several models: demo, other"), "{said}");
    assert!(said.contains("hint: name one with --base-model"), "{said}");
    let (code, _, said) = super::tried(&[&args[..], &["--base-model", "third"]].concat(), None);
    assert!(code == Some(1) && said.contains("has no model \"third\", expected one of demo, other"), "{said}");
    assert_eq!(generated(&[&args[..], &["--base-model", "demo"]].concat()).trim_end(), " girl named");
}
