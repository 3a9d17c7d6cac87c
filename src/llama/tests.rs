//! Texts in parts, beside llama.cpp on the whole.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::model::{Model, ModelParams};
use super::parts::{LIMITS, parts};
use super::text::Flags;
use super::{backend, log};
use gguf::{Spec, TokenType, Value as Entry};

#[path = "../../tests/support/gguf.rs"]
#[allow(dead_code)]
mod gguf;

fn open(path: &Path) -> Model {
    log::capture(false);
    let backend = backend::shared().expect("a backend");
    Model::load(&backend, path, &ModelParams::default(), |_| true).expect("it loads")
}

fn written(spec: &Spec) -> Model {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    spec.write(&path).expect("writable");
    open(&path)
}

/// Tokens that merge over several characters, and names of all kinds.
fn sentence_piece() -> Spec {
    let mut spec = Spec::sentence_piece();
    for text in ["ab", "abc", "▁a", "▁ab", "aa", "aaaa", "▁▁", "éa", "bé"] {
        spec.tokens.push((text.to_owned(), TokenType::Normal));
    }
    for name in ["<b>", "<|user|>", "  ", "$", "\n\n"] {
        spec.tokens.push((name.to_owned(), TokenType::UserDefined));
    }
    for name in ["<|end|>", "<|endoftext|>"] {
        spec.tokens.push((name.to_owned(), TokenType::Control));
    }
    spec.with("tokenizer.ggml.add_space_prefix", Entry::Bool(true))
}

/// Texts of long runs, with characters that are foreign to the vocabularies, and names.
fn text() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a", "abc", " ab", "é", "éa", "語", "\n", "\n\n", " ", "  ", "\t", "<b>", "<|user|>", "<|end|>", "</s>", "$",
        "<", "🙂",
    ]);
    prop::collection::vec((part, 1..400_usize), 1..8)
        .prop_map(|parts| parts.into_iter().map(|(part, n)| part.repeat(n)).collect())
}

#[test]
fn parts_have_the_tokens_of_the_whole() {
    let models = [
        written(&sentence_piece()),
        written(&sentence_piece().with("tokenizer.ggml.add_space_prefix", Entry::Bool(false))),
        // llama.cpp knows by this name that its control tokens take the white space behind them with them.
        written(&sentence_piece().with("general.name", Entry::Text("Phi-3".to_owned()))),
        open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/base.gguf")),
    ];
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let check = |text: String| {
        for model in &models {
            for (add_special, parse_special) in [(true, false), (false, true)] {
                let flags = Flags { add_special, parse_special };
                let parts = model.tokenize_as(&text, flags).expect("tokens");
                prop_assert_eq!(parts, model.tokenize_here(&text, flags).expect("tokens"));
            }
        }
        Ok(())
    };
    runner.run(&text(), check).expect("the same tokens");
    let n_parts = |model: &Model, text: &str| parts(text, model.specials(), |_| true, model.spelling(), LIMITS).len();
    assert!(n_parts(&models[0], &"語".repeat(9000)) > 9, "foreign characters end parts");
    assert!(n_parts(&models[3], &"a<|eos|>".repeat(900)) > 9, "names end parts");
}

#[test]
fn characters_that_merge_and_are_no_tokens_are_counted() {
    let mut spec = Spec::sentence_piece();
    spec.tokens.push(("éè".to_owned(), TokenType::Normal));
    let model = written(&spec);
    assert!(model.tokenize(&"é".repeat(100)).is_ok());
    let error = model.tokenize(&"é".repeat(20_000)).expect_err("too many");
    assert!(error.to_string().contains("20000 characters of a stretch"), "{error}");
    assert!(error.hint().is_some());
}
