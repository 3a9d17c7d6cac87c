//! `inspect` against `generate --n-probs`, against sums that are made another way, and what its files hold.

use std::path::Path;

use serde_json::Value;

use crate::command_line::{json, refused, run, stderr, stdout};
use crate::trio::PROMPT;

const N: &str = "12";

/// Logits that do not depend on how tokens are batched: tokens are read several at once here, and one by one there.
fn inspected(args: &[&str]) -> Value {
    json(&[&["inspect", "--deterministic", "-c", "256", "--json"], args].concat())
}

/// What `generate` says of a greedy answer, every token of the vocabulary at every position.
fn generated(n_vocab: &str) -> Value {
    let args = ["generate", "--deterministic", "-c", "256", "--json", "-p", PROMPT, "-n", N, "--temp", "0"];
    json(&[&args[..], &["--repeat-penalty", "1", "--n-probs", n_vocab]].concat())
}

fn greedy() -> Value {
    inspected(&["-p", PROMPT, "-n", N, "--temp", "0", "--repeat-penalty", "1"])
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[track_caller]
fn assert_near(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-6, "{got} for {expected}");
}

#[test]
fn the_numbers_are_those_of_the_generation() {
    const N_VOCAB: &str = "4096";
    let (generated, inspected) = (generated(N_VOCAB), greedy());
    assert_eq!(inspected["response"], generated["text"]);
    let (probs, tokens) = (list(&generated["probs"]), list(&inspected["tokens"]));
    assert_eq!(probs.len(), tokens.len());
    let mut sums = vec![0.0; N_VOCAB.parse().expect("a number")];
    let (mut n_changed, mut kl) = (0, 0.0);
    for (i, (expected, got)) in probs.iter().zip(tokens).enumerate() {
        assert_eq!((&got["id"], &got["piece"]), (&expected["id"], &expected["piece"]));
        assert_eq!((&got["text"], &got["position"]), (&0.into(), &i.into()));
        assert_eq!(got["changed"], expected["changed"]);
        for (role, key) in
            [("steered", "logprob"), ("base", "base"), ("expert", "expert"), ("antiexpert", "antiexpert")]
        {
            assert_near(number(&got[role]["logprob"]), number(&expected[key]));
            let above = list(&expected["top"]).iter().filter(|other| number(&other[key]) > number(&expected[key]));
            assert_eq!(got[role]["rank"], above.count() + 1, "{role}");
        }
        assert_eq!(got["steered_top"]["id"], expected["top"][0]["id"]);
        n_changed += usize::from(expected["changed"] == true);
        for entry in list(&expected["top"]) {
            let (steered, base) = (number(&entry["logprob"]), number(&entry["base"]));
            sums[entry["id"].as_u64().expect("an id") as usize] += steered.exp() - base.exp();
            kl += steered.exp() * (steered - base);
        }
    }
    // The sums of everything that was seen, over the whole vocabulary.
    let aggregate = &inspected["aggregate"];
    let n = probs.len() as f64;
    assert_eq!(aggregate["n_changed"], n_changed);
    assert_near(number(&aggregate["intervention_rate"]), n_changed as f64 / n);
    assert!((number(&aggregate["kl"]) - kl / n).abs() < 1e-5);
    assert!(sums.iter().sum::<f64>().abs() < 1e-5, "probability is only moved");
    let mut order: Vec<usize> = (0..sums.len()).collect();
    order.sort_by(|a, b| sums[*b].total_cmp(&sums[*a]));
    for (moved, expected) in [("promoted", &order), ("demoted", &order.iter().rev().copied().collect())] {
        let moved = list(&aggregate[moved]);
        assert_eq!(moved.len(), 10);
        for (moved, &id) in moved.iter().zip(expected) {
            assert_eq!(moved["id"], id);
            assert!((number(&moved["sum"]) - sums[id]).abs() < 1e-5);
            assert_eq!(moved["n_written"], tokens.iter().filter(|token| token["id"] == id).count());
        }
    }
}

#[test]
fn a_text_that_is_given_is_seen_as_when_it_was_generated() {
    let generated = greedy();
    let text = generated["response"].as_str().expect("a text");
    let given = inspected(&["-p", PROMPT, "--text", text, "--no-escape"]);
    assert_eq!((&generated["generated"], &given["generated"]), (&true.into(), &false.into()));
    for key in ["prompt", "response", "weights", "tokens", "aggregate"] {
        assert_eq!(given[key], generated[key], "{key}");
    }
    // What an answer begins with is part of the prompt, however it is cut.
    let (begun, rest) = text.split_at(text.rfind(' ').expect("words"));
    let given = inspected(&["-p", PROMPT, "--response-prefix", begun, "--text", rest, "--no-escape"]);
    let tail = &list(&generated["tokens"])[list(&generated["tokens"]).len() - list(&given["tokens"]).len()..];
    for (given, expected) in list(&given["tokens"]).iter().zip(tail) {
        assert_eq!((&given["id"], &given["steered"]), (&expected["id"], &expected["steered"]));
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    std::fs::write(folder.join(name), text).expect("writable");
    folder.join(name).to_str().expect("UTF-8").to_owned()
}

#[test]
fn the_sums_of_a_file_are_those_of_its_tokens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let prose = std::fs::read_to_string(crate::trio::file("base").with_file_name("heldout-prose.txt")).expect("a text");
    let path = write(folder.path(), "prose.txt", &prose.chars().take(900).collect::<String>());
    let args = ["inspect", "-c", "64", "-f", &path, "--json"];
    let (all, sums) = (json(&[&args[..], &["--tokens"]].concat()), json(&args));
    assert_eq!(sums.get("tokens"), None);
    assert_eq!((&all["aggregate"], &all["n_ctx"]), (&sums["aggregate"], &64.into()));
    let (tokens, aggregate) = (list(&all["tokens"]), &all["aggregate"]);
    let n = tokens.len() as f64;
    assert_eq!(aggregate["n_tokens"], tokens.len());
    assert_eq!(
        aggregate["n_changed"],
        tokens.iter().filter(|token| token["base_top"]["id"] != token["steered_top"]["id"]).count()
    );
    assert_near(number(&aggregate["kl"]), tokens.iter().map(|token| number(&token["kl"])).sum::<f64>() / n);
    assert!(number(&aggregate["kl_standard_error"]) > 0.0);
    assert_eq!(all["n_windows"], number(&tokens[tokens.len() - 1]["text"]) + 1.0);
    // The same losses as `perplexity` finds.
    let losses = json(&["perplexity", "-c", "64", "-f", &path, "--alpha", "0.75", "--json"]);
    for (row, key) in list(&losses["results"]).iter().zip(["base", "expert", "antiexpert", "steered"]) {
        let loss = -tokens.iter().map(|token| number(&token[key]["logprob"])).sum::<f64>() / n;
        assert!((loss - number(&row["nats_per_token"])).abs() < 1e-5, "{key}: {loss} for {row}");
    }

    let output = run(&["inspect", "-c", "64", "-f", &path, "--rows", "3", "--chunks", "2"]);
    let text = stdout(&output);
    assert!(output.status.success() && text.starts_with("126 tokens predicted in 2 windows of 64"), "{text}");
    assert!(text.contains("text:token") && text.contains("promoted") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_cut_takes_tokens_away_from_the_sum_alone() {
    let cut = inspected(&["-p", PROMPT, "--text", " xylophone", "--plausibility", "0.1"]);
    let first = &list(&cut["tokens"])[0];
    assert_eq!(first["steered"]["logprob"], Value::Null);
    assert!(number(&first["base"]["logprob"]) < 0.0);
}

/// The tensors of a file by name, each as numbers of 32 bits.
fn tensors(path: &str) -> (Value, impl Fn(&str) -> Vec<[u8; 4]>) {
    let bytes = std::fs::read(path).expect("it is there");
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
    assert_eq!(end % 8, 0);
    let header: Value = serde_json::from_slice(&bytes[8..end]).expect("JSON");
    let last = header.as_object().expect("an object").values().filter_map(|it| it["data_offsets"][1].as_u64()).max();
    assert_eq!(last, Some((bytes.len() - end) as u64), "nothing lies behind the last tensor");
    let copy = header.clone();
    let tensor = move |name: &str| {
        let [from, to] = [0, 1].map(|i| copy[name]["data_offsets"][i].as_u64().expect("an offset") as usize + end);
        bytes[from..to].as_chunks::<4>().0.to_vec()
    };
    (header, tensor)
}

#[test]
fn what_is_dumped_is_the_composed_row() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("targets.safetensors").to_str().expect("UTF-8").to_owned();
    let args = ["-p", PROMPT, "-n", N, "--temp", "0", "--repeat-penalty", "1"];
    let inspected = inspected(&[&args[..], &["--dump-targets", &path, "--dump-top-k", "5"]].concat());
    let generated = generated("5");
    let (header, tensor) = tensors(&path);
    let about = &header["__metadata__"];
    let expected = ["proxytune targets 1", "5", "4096", "α = 0.75", "true"];
    assert_eq!(
        ["format", "top_k", "n_vocab", "weights", "complete"].map(|key| about[key].as_str()),
        expected.map(Some)
    );
    let probs = list(&generated["probs"]);
    assert_eq!(header["top_logprobs"]["shape"], serde_json::json!([probs.len(), 5]));
    let ids = |name: &str| tensor(name).into_iter().map(u32::from_le_bytes).collect::<Vec<_>>();
    let floats = |name: &str| tensor(name).into_iter().map(f32::from_le_bytes).map(f64::from).collect::<Vec<_>>();
    let (top_ids, logprobs, rest) = (ids("top_ids"), floats("top_logprobs"), floats("rest"));
    for (i, (expected, token)) in probs.iter().zip(ids("tokens")).enumerate() {
        assert_eq!(
            (expected["id"].as_u64(), inspected["tokens"][i]["id"].as_u64()),
            (Some(token.into()), Some(token.into()))
        );
        let mut left = 1.0;
        for (k, entry) in list(&expected["top"]).iter().enumerate() {
            assert_eq!(entry["id"], top_ids[5 * i + k]);
            assert!((number(&entry["logprob"]) - logprobs[5 * i + k]).abs() < 1e-6);
            left -= number(&entry["logprob"]).exp();
        }
        assert!((rest[i] - left).abs() < 1e-6, "{} for {left}", rest[i]);
    }
    assert_eq!(ids("text_lengths"), [probs.len() as u32]);
    let prompt: Vec<_> =
        list(&generated["prompt_tokens"]["base"]).iter().map(|id| id.as_u64().expect("an id") as u32).collect();
    assert_eq!((ids("prompt_lengths"), ids("prompts")), (vec![prompt.len() as u32], prompt));
}

/// Texts that are read at once stand one behind the other.
#[test]
fn rows_of_documents_stand_in_their_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let answers =
        [" there was a small red hen who lived by the sea.", " he ran.", " it rained all day and the boy was sad."];
    let lines = answers.map(|answer| serde_json::json!({"prompt": PROMPT, "answer": answer}).to_string());
    let path = write(folder.path(), "documents.jsonl", &lines.join("\n"));
    let dump = folder.path().join("dump").to_str().expect("UTF-8").to_owned();
    let object =
        json(&["inspect", "-c", "64", "-f", &path, "--json", "--tokens", "--dump-targets", &dump, "--dump-top-k", "1"]);
    let (_, tensor) = tensors(&dump);
    let ids = |name: &str| tensor(name).into_iter().map(u32::from_le_bytes).collect::<Vec<_>>();
    let tokens = list(&object["tokens"]);
    assert_eq!(
        ids("tokens"),
        tokens.iter().map(|token| token["id"].as_u64().expect("an id") as u32).collect::<Vec<_>>()
    );
    let tops = tokens.iter().map(|token| token["steered_top"]["id"].as_u64().expect("an id") as u32);
    assert_eq!(ids("top_ids"), tops.collect::<Vec<_>>());
    let lengths = [0, 1, 2].map(|text| tokens.iter().filter(|token| token["text"] == text).count() as u32);
    assert_eq!(ids("text_lengths"), lengths);
    assert_eq!(ids("prompts").len() as u32, ids("prompt_lengths").iter().sum::<u32>());
}

const HOSTILE: &str =
    " </script><script>alert(1)</script><img src=x onerror=alert(2)> \"'&lt; \u{202e}txt.exe\u{2028}\u{1b}[31m";

#[test]
fn hostile_text_stays_text_in_the_page() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let line = serde_json::json!({"prompt": HOSTILE, "answer": HOSTILE}).to_string();
    let path = write(folder.path(), "<b>&.jsonl", &line);
    for args in [&["-f", &path][..], &["-p", HOSTILE, "--response-prefix", HOSTILE, "--text", HOSTILE]] {
        let html = folder.path().join("page.html");
        let to = ["inspect", "-c", "512", "--overwrite", "--html", html.to_str().expect("UTF-8")];
        let output = run(&[&to[..], args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let page = std::fs::read_to_string(&html).expect("it is there");
        let tags = |tag: &str| page.matches(tag).count();
        assert_eq!((tags("<script"), tags("</script"), tags("<img"), tags("<b>")), (2, 2, 0, 0));
        let acts =
            |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}');
        assert_eq!(page.chars().find(|&c| acts(c)), None);
        assert!(page.contains("⟨U+202E⟩") && page.contains("␛") && page.contains("script-src 'sha256-"));
        let (_, data) = page.split_once("id=\"data\">").expect("data");
        let (data, _) = data.split_once("</script>").expect("its end");
        let data: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(data["roles"], serde_json::json!(["base", "expert", "antiexpert", "steered"]));
        assert!(!page.contains("http://") && !page.contains("https://"), "it asks for nothing");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let there = write(folder.path(), "there.txt", "Once upon a time.");
    for (args, code, expected) in [
        (&["-f", &there, "-n", "4"][..], 2, "--predict"),
        (&["-f", &there, "--temp", "0"], 2, "--temp"),
        (&["-p", "x", "--text", "y", "--stop", "z"], 2, "--stop"),
        (&["-f", &there, "--text", "y"], 2, "--text"),
        (&["-f", &there, "--alpha-schedule", "1@0,0@4"], 2, "give an α with --alpha N"),
        (&["-p", "x", "--tokens"], 2, "--file"),
        (&["-p", "x", "--overwrite"], 2, "--dump-targets"),
        (&["-p", "x", "--html", "one", "--dump-targets", "one"], 2, "name one file"),
        (&["-f", &there, "--chunks", "0"], 2, "1 or more, or -1"),
        (&["-p", "x", "--html", &there], 1, "is there already"),
        (&["-p", "x", "--html", "/nowhere/page.html"], 1, "no folder"),
        (&["-p", "x", "-n", "0"], 1, "there is no token"),
        (
            &["-p", "x", "-c", "8", "--text", "Many words that do not fit into so small a context"],
            1,
            "context of 8 tokens",
        ),
    ] {
        let said = refused(&[&["inspect"], args].concat(), code);
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    let dump = folder.path().join("dump");
    let args = ["inspect", "-f", &there, "--dump-targets", dump.to_str().expect("UTF-8"), "--dump-top-k", "5000"];
    assert!(refused(&args, 2).contains("at most the 4096 tokens"));
    assert!(!dump.exists(), "nothing is left of what was refused");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}
