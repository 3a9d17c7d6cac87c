//! A server whose ids are others, and the `tokenizer.json` that says what they stand for.

use std::path::PathBuf;

use proxytune::gguf::Header;
use proxytune::vocab::Vocabulary;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{GREEDY, answer, base, generated, run_with_key};
use crate::base_server::{BaseServer, Request};
use crate::command_line::stderr;
use crate::trio::file;

/// The server's numbers for these two tokens of the prompt are each other's.
const SWAPPED: [i64; 2] = [260, 312];
const PROMPT: &str = "Once upon a time there was a little girl";

fn other(id: &Value) -> Value {
    match id.as_i64() {
        Some(id) if id == SWAPPED[0] => SWAPPED[1].into(),
        Some(id) if id == SWAPPED[1] => SWAPPED[0].into(),
        _ => id.clone(),
    }
}

/// A request or an answer with the other numbers in it.
fn renumbered(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name.clone(), field(&name, value))).collect(),
        Value::Array(items) => items.into_iter().map(renumbered).collect(),
        other => other,
    }
}

fn field(name: &str, value: Value) -> Value {
    match (name, value) {
        ("id", id) => other(&id),
        ("tokens" | "prompt", Value::Array(ids)) => ids.iter().map(other).collect(),
        ("logit_bias", Value::Array(biases)) => biases.iter().map(|bias| json!([other(&bias[0]), bias[1]])).collect(),
        (_, value) => renumbered(value),
    }
}

fn server() -> BaseServer {
    let base = base();
    let renumber =
        |text: &str| serde_json::from_str(text).map_or_else(|_| text.to_owned(), |json| renumbered(json).to_string());
    BaseServer::start(move |request| {
        let request = Request { body: renumber(&request.body), ..request.clone() };
        let (status, text) = answer(&base, &request);
        (status, renumber(&text))
    })
}

/// The tokens of the demo under the server's numbers, as `tokenizers` writes them; `change` may spoil them.
fn tokenizer(folder: &TempDir, change: impl FnOnce(&mut Map<String, Value>)) -> PathBuf {
    let header = Header::read(file("base")).expect("a header");
    let vocabulary = Vocabulary::of(&header).expect("a vocabulary");
    let (mut vocab, mut added) = (Map::new(), Vec::new());
    for id in 0..vocabulary.len() {
        let (bytes, kind) = vocabulary.token(id).expect("a token");
        let token = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let there = other(&json!(id));
        if kind != proxytune::vocab::vocabulary::TYPE_NORMAL {
            added.push(json!({"id": there, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                              "normalized": false, "special": true}));
        }
        vocab.insert(token, there);
    }
    change(&mut vocab);
    let model = json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                       "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []});
    let whole = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
                       "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": model});
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, whole.to_string()).expect("it is written");
    path
}

#[test]
fn ids_are_translated_both_ways() {
    let folder = TempDir::new().expect("a folder");
    let path = tokenizer(&folder, |_| {});
    let (server, prompt) = (server(), ["-p", PROMPT, "-n", "16"]);
    let here = generated(&[&prompt[..], &["--draft", "off"]].concat());
    for way in [&["--base-exact"][..], &["--base-logprobs", "all"]] {
        let there = ["--base-url", &server.url, "--base-tokenizer", path.to_str().expect("UTF-8")];
        assert_eq!(generated(&[&prompt[..], &there, way].concat()), here, "{way:?}");
    }
    let asked = server.requests("/completion");
    let sent: Value = serde_json::from_str(&asked[0].body).expect("JSON");
    assert_eq!(sent["prompt"], json!([0, 2060, 603, 312, 571, 417, 260, 312, 520, 886]));
    assert_eq!(server.requests("/detokenize").len(), 0);
}

#[test]
fn other_ids_without_a_file_and_other_tokens_in_it_are_refused() {
    let refused = |more: &[&str]| {
        let server = server();
        let output =
            run_with_key(&[&["generate", "-p", PROMPT, "--base-url", &server.url], &GREEDY[..], more].concat(), None);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(server.requests("/completion").len(), 0);
        stderr(&output)
    };
    let said = refused(&[]);
    assert!(said.contains("another tokenizer") && said.contains("token 260"), "{said}");

    let folder = TempDir::new().expect("a folder");
    let path = tokenizer(&folder, |vocab| {
        let id = vocab.remove("Ġlittle").expect("a token");
        vocab.insert("Ġlittler".to_owned(), id);
    });
    let said = refused(&["--base-tokenizer", path.to_str().expect("UTF-8")]);
    assert!(said.contains("is not the small models'") && said.contains("Ġlittler"), "{said}");
    std::fs::write(&path, "{").expect("it is written");
    let said = refused(&["--base-tokenizer", path.to_str().expect("UTF-8")]);
    assert!(said.contains("is no tokenizer.json"), "{said}");
}
