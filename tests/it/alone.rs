//! A base without a pair, and a base that has no say beside one.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::command_line::{json, refused, run, stderr, stdout};
use crate::gguf::{Spec, Value};
use crate::trio::{PROMPT, file};

fn base() -> String {
    file("base").to_str().expect("UTF-8").to_owned()
}

fn expert() -> String {
    file("expert").to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_model_by_itself_is_continued_compared_measured_and_checked() {
    let base = base();
    let none = ["-m", &base, "-me", "none", "-ma", "none"];
    let mut texts = Vec::new();
    for models in [&none[..2], &none] {
        let object = json(&[&["generate"], models, &["-p", PROMPT, "-n", "8", "--temp", "0", "--json"]].concat());
        assert_eq!(object["prompt_tokens"].as_object().map(serde_json::Map::len), Some(1));
        texts.push(object["text"].clone());
        let output = run(&[&["compare"], models, &["-p", PROMPT, "-n", "8", "--temp", "0", "--json"]].concat());
        assert!(stderr(&output).contains("note: no pair steers the base"), "{}", stderr(&output));
        let compared: Json = serde_json::from_str(&stdout(&output)).expect("one object");
        let runs = compared["runs"].as_array().expect("runs");
        assert_eq!((runs.len(), &runs[0]["run"]), (1, &"base".into()));
        texts.push(runs[0]["text"].clone());
    }
    assert!(texts.iter().all(|text| text == &texts[0]), "{texts:?}");
    let mut text = tempfile::NamedTempFile::new().expect("a temporary file");
    write!(text, "{PROMPT} who lived by the sea.").expect("writable");
    let text = text.path().to_str().expect("UTF-8");
    let measured = json(&["perplexity", "-m", &base, "-f", text, "--json"]);
    assert_eq!(measured["results"].as_array().map(Vec::len), Some(1));
    assert_eq!(measured["results"][0]["role"], "base");
    let checked = json(&["check", "-m", &base, "--json"]);
    let findings = checked["findings"].as_array().expect("findings");
    let finding = findings.iter().find(|finding| finding["topic"] == "pair").expect("one of the pair");
    assert_eq!((&checked["can_run"], &finding["level"]), (&true.into(), &"note".into()));
}

#[test]
fn a_model_that_is_not_there_is_what_is_told() {
    for command in ["generate", "compare"] {
        assert!(refused(&[command, "-m", "no/such.gguf", "-p", "x"], 1).contains("no/such.gguf"));
    }
    assert!(refused(&["perplexity", "-m", "no/such.gguf", "-f", "Cargo.toml"], 1).contains("no/such.gguf"));
}

#[test]
fn alpha_without_a_pair_is_refused() {
    let base = base();
    for args in [
        &["generate", "-m", &base, "-p", "x", "--alpha", "0.5"][..],
        &["perplexity", "-m", &base, "-f", "Cargo.toml", "--alpha", "0.5,1"],
    ] {
        let said = refused(args, 2);
        assert!(said.contains("no pair to steer with") && said.contains("hint: name a small tuned model"), "{said}");
    }
}

/// A conversation with a tuned model by itself is in its own template, as in llama.cpp; a prompt is continued as it is.
#[test]
fn chat_asks_a_model_by_itself_as_it_was_tuned() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tuned.gguf");
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    Spec::tiny().with("tokenizer.chat_template", Value::Text(template.to_owned())).write(&path).expect("writable");
    let model = path.to_str().expect("UTF-8");
    let chat = |rest: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
        command.args(["chat", "-m", model, "-t", "1"]).args(rest).stdin(Stdio::null());
        stderr(&command.output().expect("it starts"))
    };
    assert!(chat(&[]).contains("base: tuned.gguf, chat template"), "{}", chat(&[]));
    assert!(chat(&["--base-template", "plain"]).contains("base: tuned.gguf, plain text"));
    let object = json(&["generate", "-m", model, "-p", "ab", "-n", "1", "--json"]);
    assert_eq!(object["prompt_tokens"]["base"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_base_that_has_no_say_is_pointed_out() {
    let (base, expert) = (base(), expert());
    let models = ["-m", &base, "-me", &expert, "-ma", "base"];
    let says = |rest: &[&str]| {
        let said = stderr(&run(&[&["generate", "-p", PROMPT, "-n", "1"], &models[..], rest].concat()));
        said.contains("the base has no say")
    };
    assert!(says(&[]));
    assert!(says(&["--alpha-schedule", "1@0"]));
    for rest in [&["--alpha", "0.5"][..], &["--alpha-schedule", "1@0..0.5@64"], &["--plausibility", "0.1"]] {
        assert!(!says(rest), "{rest:?}");
    }
    // Shown another prompt it is not the same base.
    assert!(!says(&["--antiexpert-prompt", "no"]));
    let output = run(&[&["compare", "-p", PROMPT, "-n", "1"], &models[..]].concat());
    assert!(stderr(&output).contains("the base has no say"));
    let checked = json(&[&["check", "--json"], &models[..]].concat());
    let findings = checked["findings"].as_array().expect("findings");
    assert!(findings.iter().any(|finding| finding["topic"] == "alpha" && finding["level"] == "warning"), "{checked}");
}
