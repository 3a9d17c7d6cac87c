//! `proxytune check`: what it says of files that work, of files that do not, and of those that work badly.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;

use proxytune::llama::kernels::Isa;

use crate::gguf::{Kind, Spec, TokenType, Value};
use crate::trio::file;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, spec: &Spec) -> String {
        let path = self.0.path().join(name).with_extension("gguf");
        spec.write(&path).expect("writable");
        path.to_str().expect("UTF-8").to_owned()
    }

    /// A base, and a pair of which the expert is `expert`.
    fn trio(&self, expert: &Spec) -> [String; 6] {
        let base = Spec { n_layer: 4, ..expert_of(expert) };
        let antiexpert = Spec { seed: 2, ..expert_of(expert) };
        let [base, antiexpert] =
            [("base", base), ("antiexpert", antiexpert)].map(|(name, spec)| self.write(name, &spec));
        ["-m".to_owned(), base, "-me".to_owned(), self.write("expert", expert), "-ma".to_owned(), antiexpert]
    }
}

/// The unchanged model that an expert was made from.
fn expert_of(spec: &Spec) -> Spec {
    match spec.tokenizer {
        "llama" => Spec::sentence_piece(),
        _ => Spec::tiny(),
    }
}

fn proxytune(command: &str, args: &[&str]) -> Output {
    let mut proxytune = Command::new(env!("CARGO_BIN_EXE_proxytune"));
    proxytune.arg(command).args(args).args(["-t", "1"]).stdin(std::process::Stdio::null());
    proxytune.output().expect("it starts")
}

fn json(args: &[&str]) -> Json {
    let output = proxytune("check", &[args, &["--json"]].concat());
    let object: Json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(i32::from(object["can_run"] == false)), "{object}");
    object
}

/// The findings of a level, as `role topic: text`.
fn findings(object: &Json, level: &str) -> Vec<String> {
    let line = |finding: &Json| {
        let role = finding["role"].as_str().map_or(String::new(), |role| format!("{role} "));
        format!("{role}{}: {}", finding["topic"].as_str().expect("a topic"), finding["text"].as_str().expect("a text"))
    };
    let findings = object["findings"].as_array().expect("findings");
    findings.iter().filter(|finding| finding["level"] == level).map(line).collect()
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn the_demo_passes_every_check() {
    let object = json(&["--deep"]);
    assert_eq!(object["can_run"], true);
    for level in ["note", "warning", "refused"] {
        assert_eq!(findings(&object, level), [""; 0], "{level}");
    }
    assert!(findings(&object, "ok").iter().any(|line| line.starts_with("base weights: all weights are finite")));
    for model in object["models"].as_array().expect("models") {
        assert_eq!(model["batch_invariant"], true, "on one thread, with weights in q8_0");
    }
    assert!(findings(&object, "ok").iter().any(|line| line.starts_with("base batch: up to 16 tokens at once")));
    assert_eq!(json(&["-c", "64"])["models"][0]["batch_invariant"], Json::Null, "nobody asked");
    let base = &object["models"][0];
    assert_eq!(
        (&base["roles"][0], &base["architecture"], &base["quantisation"]),
        (&"base".into(), &"llama".into(), &"Q8_0".into())
    );
    assert!(base["n_params"].as_u64() > object["models"][1]["n_params"].as_u64());
    let size = std::fs::metadata(file("base")).expect("bundled").len();
    assert_eq!(base["n_bytes"], size);
    let weights = base["memory"]["weights"].as_u64().expect("bytes");
    assert!(weights < size && weights > size / 10 * 9, "{weights} of {size}");
    let sum = |part: &str| {
        object["models"].as_array().expect("models").iter().map(|m| m["memory"][part].as_u64()).sum::<Option<u64>>()
    };
    for part in ["weights", "kv", "compute"] {
        assert!(object["devices"][0][part].as_u64().abs_diff(sum(part)) < 64, "{part}: {}", object["devices"]);
    }
}

trait AbsDiff {
    fn abs_diff(self, other: Self) -> u64;
}

impl AbsDiff for Option<u64> {
    fn abs_diff(self, other: Self) -> u64 {
        self.expect("a number").abs_diff(other.expect("a number"))
    }
}

#[test]
fn people_get_a_table_and_a_verdict() {
    let output = proxytune("check", &[]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success() && output.stderr.is_empty(), "{text}");
    for words in
        ["antiexpert", "parameters", "8.93 M", "Q8_0", "<|bos|>, <|eos|>", "KV cache", "This can run: 0 warnings."]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_large_vocabulary_takes_memory_too() {
    let folder = Folder::new();
    let with = |n_tokens: usize| {
        let mut spec = Spec::tiny();
        spec.tokens.extend((spec.tokens.len()..n_tokens).map(|i| (format!("word{i}"), TokenType::Normal)));
        folder.write(&format!("of-{n_tokens}"), &spec)
    };
    let compute = |path: &str| {
        let object = json(&["-m", path]);
        let [model, device] = [&object["models"][0]["memory"], &object["devices"][0]].map(|of| of["compute"].as_u64());
        assert_eq!(model, device);
        model.expect("bytes")
    };
    // What llama.cpp keeps of each token, and a column of the 16 rows of logits.
    let more = compute(&with(51_000)) - compute(&with(1_000));
    assert!(more > 50_000 * (250 + 16 * 4), "{more} bytes for 50,000 tokens more");
}

#[test]
fn a_cache_is_as_large_as_its_header_says() {
    let folder = Folder::new();
    let grouped = Spec { n_head: 4, n_head_kv: 2, n_embd: 256, ..Spec::tiny() };
    for (spec, name) in [(Spec::tiny(), "tiny"), (grouped, "grouped"), (Spec::gemma(), "gemma")] {
        let path = folder.write(name, &spec);
        for cache in ["f16", "f32", "q8_0"] {
            for n_ctx in ["64", "256", "600"] {
                let object = json(&["-m", &path, "-c", n_ctx, "-ctk", cache, "-ctv", cache, "-fa", "on"]);
                let told = object["models"][0]["memory"]["kv"].as_u64().expect("bytes");
                let header = {
                    use proxytune::gguf::Header;
                    use proxytune::inspect::model::File;
                    use proxytune::llama::context::ContextParams;
                    use proxytune::recipe::placement::CacheType;
                    let header = Header::read(&path).expect("a header");
                    let vocabulary = proxytune::vocab::Vocabulary::of(&header).expect("a vocabulary");
                    let typed = proxytune::gguf::typed::Typed::of(&header);
                    let kind = CacheType::ALL.into_iter().find(|kind| kind.name() == cache).expect("a type");
                    let n_ctx = n_ctx.parse().expect("a number");
                    let lane =
                        ContextParams { n_ctx, cache_type_k: kind, cache_type_v: kind, ..ContextParams::default() };
                    File { header, vocabulary, typed }.kv_bytes(&lane).expect("it is told")
                };
                // llama.cpp tells hundredths of a MiB, once for each of at most two caches.
                assert!(header.abs_diff(told) <= 2 * 5300, "{name} {cache} {n_ctx}: {header} and {told}");
            }
        }
    }
}

/// Where logits depend on how tokens are batched, nothing is promised that does not hold, nor what is asked for already.
#[test]
fn a_hint_about_batches_is_true() {
    let folder = Folder::new();
    let [f32, q8_0] = [("f32", Kind::F32), ("q8_0", Kind::Q8_0)]
        .map(|(name, kind)| folder.write(name, &Spec { kind, n_ctx: 1024, ..Spec::tiny() }));
    // Two threads share out a cache in F16, and round otherwise then.
    let checked = |rest: &[&str]| {
        crate::command_line::json(&[&["check", "--deep", "--json", "-t", "2", "-c", "1024"], rest].concat())
    };
    for (model, hint) in [
        (&f32, "--draft off, which --deterministic takes for these weights"),
        (&q8_0, "with --deterministic it would be the same"),
    ] {
        let object = checked(&["-m", model, "--kernels", "off"]);
        let findings = object["findings"].as_array().expect("findings");
        let finding = findings.iter().find(|finding| finding["topic"] == "batch").expect("one of the batch");
        assert_eq!(finding["level"], "note", "{finding}");
        assert!(finding["hint"].as_str().is_some_and(|text| text.starts_with(hint)), "{finding}");
        let object = checked(&["-m", model, "--kernels", "off", "--deterministic"]);
        assert!(!object.to_string().contains("with --deterministic"), "{object}");
    }
    let mut promised = vec![checked(&["-m", &q8_0, "--kernels", "off", "--deterministic"])];
    if Isa::best().is_some() {
        promised.extend([checked(&["-m", &f32]), checked(&["-m", &q8_0])]);
    }
    for object in promised {
        assert!(findings(&object, "ok").iter().any(|line| line.contains("drafts do not change the text")), "{object}");
    }
}

#[test]
fn what_may_be_wrong_with_a_pair_is_told() {
    let text = |text: &str| Value::Text(text.to_owned());
    for (expert, level, expected) in [
        (Spec { seed: 3, ..Spec::tiny() }, "ok", "expert vocabulary: the base's 300 tokens, id by id"),
        (Spec { n_layer: 5, ..Spec::tiny() }, "warning", "expert size: it is no smaller than the base"),
        (
            Spec { kind: Kind::Q8_0, ..Spec::tiny() },
            "warning",
            "antiexpert pair: its quantisation is F32, the expert's is Q8_0",
        ),
        (Spec { n_ff: 96, ..Spec::tiny() }, "warning", "antiexpert pair: its number of parameters is"),
        (Spec { n_ctx: 128, ..Spec::tiny() }, "note", "expert context: it was trained on 128 tokens, the base on 256"),
        (
            Spec { pre: "llama-bpe", ..Spec::tiny() },
            "warning",
            "expert tokenizer: it cuts text otherwise than the base (base gpt2 gpt-2, here gpt2 llama-bpe",
        ),
        (
            Spec::tiny().with("tokenizer.ggml.add_bos_token", Value::Bool(false)),
            "note",
            "expert bos: whether its texts begin with BOS (no) is not as in the base (yes)",
        ),
        (
            Spec::tiny().with("tokenizer.chat_template", text("{{ messages }}")),
            "note",
            "expert template: it is given the prompt in a chat template",
        ),
        (
            Spec::tiny().with("tokenizer.ggml.eos_token_id", Value::U32(5)),
            "note",
            "expert specials: its eos token is \"ă\", the base's is \"<|eos|>\"",
        ),
        (
            Spec::tiny().with("tokenizer.ggml.eos_token_id", Value::U32(5)),
            "note",
            "expert eog: a text ends for it with \u{3}, for the base with <|eos|>",
        ),
    ] {
        let folder = Folder::new();
        let object = json(&strs(&folder.trio(&expert)));
        let told = findings(&object, level);
        assert!(told.iter().any(|line| line.starts_with(expected)), "{expected}: {told:?}");
        assert_eq!(object["can_run"], true, "{expected}");
    }
}

#[test]
fn what_may_be_wrong_with_a_base_is_told() {
    let folder = Folder::new();
    let name = |name: &str| Value::Text(name.to_owned());
    for (base, level, expected) in [
        (
            Spec::tiny().with("general.name", name("Llama 3 8B Instruct")),
            "warning",
            "base tuned: it looks tuned already: its name is",
        ),
        (
            Spec::tiny().with("tokenizer.chat_template", name("{{ x }}")),
            "note",
            "base tuned: it may be tuned already: it brings a chat template",
        ),
        (Spec::tiny().without("tokenizer.ggml.eos_token_id"), "note", "base eog:"),
    ] {
        let base = folder.write("base", &base);
        let small = folder.write("small", &Spec { n_layer: 1, ..Spec::tiny() });
        let told = json(&["-m", &base, "-me", &small, "-ma", &small]);
        if expected != "base eog:" {
            assert!(findings(&told, level).iter().any(|line| line.starts_with(expected)), "{expected}: {told}");
        }
    }
    let stretched = json(&["-c", "2048", "--rope-scale", "2"]).to_string();
    assert!(!stretched.contains("longer than") && json(&["-c", "2048"]).to_string().contains("longer than"));
    // What is no proxy-tuning takes any base.
    let tuned = folder.write("tuned", &Spec::tiny().with("general.name", name("Llama 3 8B Instruct")));
    let small = folder.write("small", &Spec { n_layer: 1, ..Spec::tiny() });
    for pair in [
        &["-me", "base", "-ma", "base", "--antiexpert-prompt", ""][..],
        &["-me", "none", "-ma", &small],
        &["-me", &small, "-ma", "none"],
        &["-me", "base", "-ma", &small],
    ] {
        let told = json(&[&["-m", &tuned], pair].concat());
        assert!(!told.to_string().contains("untuned"), "{pair:?}: {told}");
    }
    let demo = file("base").to_str().expect("UTF-8").to_owned();
    let expert = file("expert").to_str().expect("UTF-8").to_owned();
    let told = json(&["-m", &demo, "-me", &expert, "-ma", "base"]);
    let warnings = findings(&told, "warning");
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("base alpha: "),
        "the base may be the antiexpert: {warnings:?}"
    );
    let (gemma, spm) = (folder.write("gemma", &Spec::gemma()), folder.write("spm", &Spec::sentence_piece()));
    let told = json(&["-m", &gemma, "-me", &spm, "-ma", "base"]);
    let expected = "expert softcap: its final logits are capped at none, the base's at 30";
    assert!(findings(&told, "warning").iter().any(|line| line.starts_with(expected)), "{told}");
    let told = json(&["-m", &gemma, "-me", &spm, "-ma", &spm, "-c", "512"]);
    let warnings = findings(&told, "warning").join("\n");
    for expected in ["expert and antiexpert are one file", "a context of 512 tokens is longer than the 256"] {
        assert!(warnings.contains(expected), "{expected}: {warnings}");
    }
}

#[test]
fn memory_that_the_machine_lacks_is_refused() {
    let folder = Folder::new();
    let path = folder.write("wide", &Spec { n_ctx: 1 << 24, n_layer: 64, ..Spec::tiny() });
    let told = json(&["-m", &path, "-c", "0"]);
    let refused = findings(&told, "refused").join("\n");
    assert!(refused.contains("memory: CPU has") && refused.contains("in all"), "{told}");
}

#[test]
fn a_file_does_not_write_to_the_terminal() {
    let folder = Folder::new();
    let name = format!("\u{1b}[2Jwiped{}", "!".repeat(5000));
    let mut spec = Spec::tiny().with("general.name", Value::Text(name));
    spec.tokens[1].0 = "\u{1b}[31m".to_owned();
    let path = folder.write("loud", &spec.with("tokenizer.ggml.eos_token_id", Value::U32(1)));
    let output = proxytune("check", &["-m", &path]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("wiped!!!") && text.contains("\\u{1b}[31m") && !text.contains('\u{1b}'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 120), "{text}");
}

#[test]
fn what_no_file_can_help_is_bad_usage() {
    for (args, words) in [
        (&["-c", "999999999"][..], "context size is 999999999, expected 1 to 16777216"),
        (&["-ctv", "q8_0", "-fa", "off"], "cache-type-v is quantised, expected f32, f16 or bf16"),
        (&["-me", "x.gguf"], "an expert or antiexpert is given without a base"),
        (&["-R", "nope"], "no recipe is called \"nope\""),
    ] {
        let output = proxytune("check", args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words), "{args:?}: {said}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn damaged_weights_are_found_by_a_deep_look_only() {
    let folder = Folder::new();
    let path = folder.write("nan", &Spec { first_output_weight: Some(f32::NAN), ..Spec::tiny() });
    assert_eq!(json(&["-m", &path])["can_run"], true);
    let refused = findings(&json(&["-m", &path, "--deep"]), "refused");
    assert!(refused[0].starts_with("base weights: the weights are damaged"), "{refused:?}");
}

/// The right one of `count` files is named, whatever role it plays, and every role is looked at.
#[test]
fn every_damaged_file_is_reported_at_once() {
    let folder = Folder::new();
    let mut args = folder.trio(&Spec { architecture: "bert".to_owned(), ..Spec::tiny() });
    let nowhere = folder.0.path().join("nowhere.gguf").to_str().expect("UTF-8").to_owned();
    args[5] = nowhere;
    let told = json(&strs(&args));
    let refused = findings(&told, "refused");
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("expert file:") && refused[0].contains("general.architecture"), "{refused:?}");
    assert!(refused[1].starts_with("antiexpert file: cannot read"), "{refused:?}");
    assert!(
        told["findings"]
            .as_array()
            .expect("findings")
            .iter()
            .any(|f| f["hint"].as_str().is_some_and(|hint| hint.contains("check the path")))
    );
}

/// Everything on which llama.cpp would end the process: refused with the key, by `check` and by `generate`.
#[test]
fn what_llama_cpp_does_not_survive_is_refused_with_its_key() {
    let u32s = Value::U32;
    let text = |text: &str| Value::Text(text.to_owned());
    let family = |name: &str| Spec { architecture: name.to_owned(), ..Spec::tiny() };
    let mut twice = Spec::tiny();
    twice.tokens[280].0 = twice.tokens[270].0.clone();
    let rwkv = Spec { tokenizer: "rwkv", tokens: vec![("ab".to_owned(), TokenType::Normal)], ..Spec::tiny() }
        .without("tokenizer.ggml.add_bos_token");
    let no_tokens = Spec::tiny().with("tokenizer.ggml.tokens", Value::Texts(Vec::new()));
    let with_experts =
        |n: u32, used: Value| Spec::tiny().with(".expert_count", u32s(n)).with(".expert_used_count", used);
    for (spec, key) in [
        (Spec { n_layer: 0, ..Spec::tiny() }, "llama.block_count"),
        (Spec::tiny().with(".block_count", u32s(513)), "llama.block_count"),
        (Spec::tiny().with(".nextn_predict_layers", u32s(3)), "llama.nextn_predict_layers"),
        (with_experts(2000, u32s(2)), "llama.expert_count"),
        (with_experts(4, u32s(5)), "llama.expert_used_count"),
        (with_experts(4, u32s(0)), "llama.expert_used_count"),
        (with_experts(4, Value::I32s(vec![2, 9])), "llama.expert_used_count"),
        (with_experts(4, Value::I32s(vec![2, -1])), "llama.expert_used_count"),
        (with_experts(0, Value::I32s(vec![0, 1])), "llama.expert_used_count"),
        (Spec::tiny().with(".expert_used_count", u32s(2)), "llama.expert_used_count"),
        (with_experts(4, u32s(2)).with(".expert_group_count", u32s(4)), "llama.expert_group_count"),
        (with_experts(4, u32s(2)).with(".expert_group_count", u32s(3)), "llama.expert_group_count"),
        (with_experts(4, u32s(2)).with(".expert_group_count", u32s(2)), "llama.expert_group_used_count"),
        (Spec::tiny().with(".rope.scaling.type", text("wonder")), "llama.rope.scaling.type"),
        (Spec::tiny().with(".attention.causal", Value::Bool(false)), "llama.attention.causal"),
        (
            Spec::tiny().with(".attention.layer_norm_rms_epsilon", Value::F32(f32::NAN)),
            "llama.attention.layer_norm_rms_epsilon",
        ),
        (Spec::tiny().without(".context_length"), "llama.context_length"),
        (Spec::tiny().without("general.architecture"), "general.architecture"),
        (Spec::tiny().with("general.architecture", u32s(1)), "general.architecture"),
        (Spec::tiny().with("general.alignment", u32s(7)), "general.alignment"),
        (Spec::tiny().with("general.type", text("adapter")), "general.type"),
        (family("bert"), "general.architecture"),
        (family("t5"), "general.architecture"),
        (family("clip"), "general.architecture"),
        (family("grovemoe"), "grovemoe.expert_count"),
        (family("jamba"), "jamba.attention.head_count_kv"),
        (
            family("jamba").with(".attention.head_count_kv", Value::I32s(vec![0, 2])).with(".ssm.inner_size", u32s(64)),
            "jamba.ssm.inner_size",
        ),
        (Spec { tokenizer: "none", ..Spec::tiny() }, "tokenizer.ggml.model"),
        (Spec { tokenizer: "t5", ..Spec::tiny() }, "tokenizer.ggml.model"),
        (Spec::tiny().without("tokenizer.ggml.model"), "tokenizer.ggml.model"),
        (Spec::tiny().with("tokenizer.ggml.tokens", Value::I32s(vec![1; 300])), "tokenizer.ggml.tokens"),
        (Spec::tiny().with("tokenizer.ggml.token_type", Value::I32s(vec![1; 299])), "tokenizer.ggml.token_type"),
        (twice, "tokenizer.ggml.tokens"),
        (no_tokens, "tokenizer.ggml.tokens"),
        (rwkv, "tokenizer.ggml.tokens"),
        (
            Spec { tokenizer: "gemma4", ..Spec::tiny() }.without("tokenizer.ggml.bos_token_id"),
            "tokenizer.ggml.add_bos_token",
        ),
        (Spec::tiny().with("split.count", text("2")), "split.count"),
    ] {
        let folder = Folder::new();
        let path = folder.write("model", &spec);
        let refused = findings(&json(&["-m", &path]), "refused").join("\n");
        assert!(refused.contains(&format!("`{key}`")), "{key}: {refused}");
        let output = proxytune("generate", &["-m", &path, "-me", &path, "-ma", "none", "-p", "a", "-n", "1"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(key) && said.contains("hint: "), "{key}: {said}");
    }
}

/// Where this crate knows no better, llama.cpp aborts in a process of its own, and `check` says so.
#[test]
fn an_abort_of_llama_cpp_is_a_finding() {
    let folder = Folder::new();
    let path = folder.write(
        "maze",
        &Spec { architecture: "minimax-m3".to_owned(), ..Spec::tiny() }
            .with(".attention.indexer.block_size", Value::U32(0)),
    );
    let told = json(&["-m", &path]);
    let refused = findings(&told, "refused");
    assert!(refused[0].starts_with("base load: llama.cpp"), "{refused:?}");
}

#[test]
fn split_models_are_followed() {
    let folder = Folder::new();
    let spec = Spec { seed: 3, ..Spec::tiny() };
    let whole = folder.write("whole", &spec);
    let first = spec.write_split(folder.0.path(), 3, |_, _| {}).expect("writable");
    let first = first.to_str().expect("UTF-8").to_owned();
    let text = |path: &str| {
        let output =
            proxytune("generate", &["-m", path, "-me", path, "-ma", "none", "-p", "a", "-n", "16", "--temp", "0"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(text(&whole), text(&first));
    let told = json(&["-m", &first, "--deep"]);
    assert_eq!((&told["models"][0]["n_files"], &told["can_run"]), (&3.into(), &true.into()));
    assert_eq!(told["models"][0]["memory"]["weights"], json(&["-m", &whole])["models"][0]["memory"]["weights"]);

    let refused = |path: &Path| findings(&json(&["-m", path.to_str().expect("UTF-8")]), "refused").join("\n");
    let second = first.replace("00001-of", "00002-of");
    let said = refused(Path::new(&second));
    assert!(said.contains("it is file 2 of 3") && said.contains("split-00001-of-00003.gguf"), "{said}");
    let renamed = folder.0.path().join("renamed.gguf");
    std::fs::copy(&first, &renamed).expect("writable");
    assert!(refused(&renamed).contains("does not end in -00001-of-00003.gguf"));
    std::fs::remove_file(&second).expect("removable");
    assert!(refused(Path::new(&first)).contains("cannot read"));
}

#[test]
fn damaged_parts_of_split_models_are_refused() {
    for (part, key, value) in [
        (1, "split.no", Some(Value::U32(1))),
        (1, "split.no", Some(Value::U16(2))),
        (1, "split.no", None),
        (0, "split.tensors.count", Some(Value::I32(7))),
        (0, "split.count", Some(Value::U16(60_000))),
    ] {
        let folder = Folder::new();
        let first = Spec::tiny().write_split(folder.0.path(), 2, |at, metadata| {
            if at == part {
                metadata.retain(|(there, _)| there != key);
                metadata.extend(value.clone().map(|value| (key.to_owned(), value)));
            }
        });
        let first = first.expect("writable");
        let first = first.to_str().expect("UTF-8");
        let refused = findings(&json(&["-m", first]), "refused").join("\n");
        assert!(refused.contains(key), "{key}: {refused}");
        let output = proxytune("generate", &["-m", first, "-me", first, "-ma", "none", "-p", "a", "-n", "1"]);
        assert_eq!(output.status.code(), Some(1), "{key}");
    }
}

/// A vocabulary of `SentencePiece`'s kind that cannot spell every byte: llama.cpp throws at the first such character.
#[test]
fn text_that_a_vocabulary_cannot_spell_is_refused() {
    let folder = Folder::new();
    let mut spec = Spec::sentence_piece();
    spec.tokens.retain(|(_, kind)| *kind != TokenType::Byte);
    spec.tokens.push(("é".to_owned(), TokenType::Normal));
    let path = folder.write("letters", &spec);
    let generate =
        |text: &str| proxytune("generate", &["-m", &path, "-me", &path, "-ma", "none", "-p", text, "-n", "1"]);
    assert!(generate("a bé").status.success());
    for text in ["a1", "ü", "漢"] {
        let output = generate(text);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("has no token for"), "{text}: {said}");
    }
}

/// The buffers of a model's weights, in bytes, as llama.cpp's log has them when it loads one.
fn loaded(path: &str, args: &[&str]) -> (f64, bool) {
    let mut chat = Command::new(env!("CARGO_BIN_EXE_proxytune"));
    chat.args(["chat", "-v", "-t", "1", "-c", "64", "-m", path]).args(args).stdin(std::process::Stdio::null());
    let said = String::from_utf8(chat.output().expect("it starts").stderr).expect("UTF-8");
    let sizes = said.lines().filter_map(|line| {
        let mib = line.split_once(" model buffer size =")?.1.trim().strip_suffix(" MiB")?;
        Some(mib.parse::<f64>().expect("a number") * f64::from(1 << 20))
    });
    (sizes.sum(), said.contains("CPU_REPACK model buffer size"))
}

#[test]
fn weights_take_what_llama_cpp_takes_for_them() {
    let folder = Folder::new();
    let large = Spec { n_embd: 256, n_ff: 512, n_head: 4, n_head_kv: 2, ..Spec::tiny() };
    for (name, kind) in [("q4_0", Kind::Q4_0), ("q8_0", Kind::Q8_0), ("f32", Kind::F32)] {
        let path = folder.write(name, &Spec { kind, ..large.clone() });
        for args in [&[][..], &["--no-repack"], &["--no-mmap"], &["--no-mmap", "--no-repack"], &["-lm", "mmap+mlock"]] {
            let object = json(&[&["-m", &path, "-c", "64"], args].concat());
            let memory = &object["devices"][0];
            let told = memory["weights"].as_u64().expect("bytes");
            assert_eq!(object["models"][0]["memory"]["weights"], told);
            let (taken, is_repacked) = loaded(&path, args);
            // The log rounds to a hundredth of a MiB, buffers to their alignment.
            let difference = (told as f64 - taken).abs();
            assert!(taken > 0.0 && difference < 0.02 * f64::from(1 << 20), "{name} {args:?}: {told} and {taken}");
            let mapped = memory["mapped"].as_u64().expect("bytes");
            match args {
                [] => assert_eq!(mapped < told, is_repacked, "{name}: a repacked matrix is a second copy"),
                ["--no-repack"] => assert!(mapped == told && !is_repacked, "{name}"),
                _ => assert_eq!(mapped, 0, "{name} {args:?}: all of it has to be there"),
            }
        }
    }
}

#[test]
fn of_a_file_that_cannot_be_read_the_refusal_is_all() {
    let base = file("base").to_str().expect("UTF-8").to_owned();
    let output = proxytune("check", &["-m", "no-such.gguf", "-me", "nor-this.gguf", "-ma", "nor-that.gguf"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1));
    assert!(!text.contains('?') && !text.contains("Memory") && !text.contains("architecture"), "{text}");
    assert_eq!(text.matches("refused ").count(), 3, "{text}");
    let output = proxytune("check", &["-m", &base, "-me", "nor-this.gguf", "-ma", "none"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("base.gguf") && text.contains("KV cache") && !text.contains('?'), "{text}");
}
