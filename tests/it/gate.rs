//! Headers that are well-formed and that llama.cpp would not survive: refused before it sees them.

use std::path::Path;
use std::process::Command;

use proxytune::gguf::{Error, Header, adapter};

use crate::gguf::{Adapter, Kind, Spec, Tensor, Value};

/// ggml's types by name, number, elements and bytes of a block.
const TYPES: [(&str, u32, usize, usize); 10] = [
    ("f16", 1, 1, 2),
    ("q4_0", 2, 32, 18),
    ("bf16", 30, 1, 2),
    ("mxfp4", 39, 32, 17),
    ("q8_1", 9, 32, 36),
    ("i8", 24, 1, 1),
    ("i16", 25, 1, 2),
    ("i32", 26, 1, 4),
    ("i64", 27, 1, 8),
    ("f64", 28, 1, 8),
];
const COMPUTED_WITH: [&str; 4] = ["f16", "q4_0", "bf16", "mxfp4"];

/// Reads a file with these tensors and the metadata of `spec`.
fn read(spec: &Spec, tensors: &[Tensor]) -> Result<Header, Error> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    spec.write_part(file.path(), &spec.metadata(), tensors).expect("writable");
    Header::read(file.path())
}

/// The error's words and its hint.
fn refusal(result: Result<Header, Error>) -> String {
    let error = result.expect_err("it is refused");
    format!("{error}; {}", error.hint().expect("a next step"))
}

#[test]
fn types_that_no_kernel_takes_are_refused() {
    let spec = Spec::tiny();
    for (type_name, id, block, bytes) in TYPES {
        let kind = Kind::Other { id, block, bytes };
        for name in ["token_embd.weight", "blk.1.attn_q.weight", "output.weight"] {
            let mut tensors = spec.tensors();
            tensors.iter_mut().filter(|tensor| tensor.name == name).for_each(|tensor| tensor.kind = kind);
            let header = read(&spec, &tensors);
            if COMPUTED_WITH.contains(&type_name) {
                assert!(header.is_ok(), "{name} as {type_name}: {header:?}");
            } else {
                let refusal = refusal(header);
                let words =
                    format!("`{name}` as {type_name}, which llama.cpp does not compute with: expected f32, f16");
                assert!(refusal.contains(&words), "{refusal}");
            }
        }
        // A vector is added or multiplied with, and all of ggml's kernels for that take f32.
        for name in ["blk.0.attn_q_norm.weight", "blk.0.attn_q.bias", "blk.0.attn_q.scale", "blk.0.ssm_conv1d.weight"] {
            let dims = if name.contains("conv1d") { vec![32, 64] } else { vec![64] };
            let tensor = Tensor { name: name.to_owned(), dims, kind };
            let refusal = refusal(read(&spec, &[spec.tensors(), vec![tensor]].concat()));
            assert!(refusal.contains(&format!("`{name}` as {type_name}")), "{refusal}");
            assert!(refusal.contains("expected f32; "), "{refusal}");
        }
    }
}

/// Converters stored it as it was trained, and a vector is not quantised.
#[test]
fn the_gate_of_a_shared_expert_is_multiplied() {
    let spec = Spec::tiny();
    for (id, bytes) in [(1, 2), (30, 2)] {
        for dims in [vec![64], vec![64, 1]] {
            let kind = Kind::Other { id, block: 1, bytes };
            let gate = Tensor { name: "blk.0.ffn_gate_inp_shexp.weight".to_owned(), dims, kind };
            assert!(read(&spec, &[spec.tensors(), vec![gate]].concat()).is_ok(), "{id}");
        }
    }
}

#[test]
fn tables_of_experts_are_integers() {
    let table = |kind| Tensor { name: "blk.0.ffn_gate_tid2eid.weight".to_owned(), dims: vec![2, 300], kind };
    let spec = Spec::tiny();
    let with = |kind| read(&spec, &[spec.tensors(), vec![table(kind)]].concat());
    assert!(with(Kind::Other { id: 26, block: 1, bytes: 4 }).is_ok());
    assert!(refusal(with(Kind::F32)).contains("as f32, which llama.cpp does not compute with: expected i32"));
}

#[test]
fn weights_that_cannot_be_mapped_are_refused() {
    for alignment in [0, 1, 2, 4, 8, 16, 48] {
        let spec = Spec::tiny().with("general.alignment", Value::U32(alignment));
        let refusal = refusal(read(&spec, &spec.tensors()));
        let words = format!("`general.alignment`: expected a power of two, 32 or more, got the number {alignment}");
        assert!(refusal.contains(&words), "{refusal}");
    }
    let spec = Spec::tiny().with("general.alignment", Value::U32(32));
    assert!(read(&spec, &spec.tensors()).is_ok());
}

#[test]
fn positions_turn_an_even_part_of_a_head() {
    let n = Value::U32;
    let qwen3 = || Spec { architecture: "qwen3".to_owned(), ..Spec::tiny() }.without(".rope.dimension_count");
    let of_head = "got 7 of a head of 7";
    let sections = |list: &[i32]| qwen3().with(".rope.dimension_sections", Value::I32s(list.to_vec()));
    for (spec, key, words) in [
        (qwen3().with(".attention.key_length", n(7)), "rope.dimension_count", of_head),
        (qwen3().with(".embedding_length", n(63)).with(".attention.head_count", n(9)), "rope.dimension_count", of_head),
        (qwen3().with(".attention.head_count", Value::I32s(vec![9, 2])), "rope.dimension_count", of_head),
        (qwen3().with(".rope.dimension_count", n(0)), "rope.dimension_count", "got 0 of a head of 32"),
        // Where the rear of a head is turned, it begins behind an even number.
        (
            qwen3().with(".attention.key_length", n(23)).with(".rope.dimension_count", n(8)),
            "rope.dimension_count",
            "got 8 of a head of 23",
        ),
        (qwen3().with(".attention.indexer.key_length", n(7)), "attention.indexer.key_length", "got 7"),
        // Models with a state turn the heads of their other layers.
        (
            qwen3().with(".rope.dimension_count", n(0)).with(".ssm.state_size", n(8)),
            "rope.dimension_count",
            "got 0 of a head of 32",
        ),
        (qwen3().with(".rope.dimension_count", n(48)), "rope.dimension_count", "got 48 of a head of 32"),
        (qwen3().with(".rope.dimension_count_swa", n(34)), "rope.dimension_count_swa", "got 34 of a head of 32"),
        (qwen3().with(".attention.key_length_swa", n(16)), "rope.dimension_count_swa", "got 32 of a head of 16"),
        (sections(&[16, 16, 16, 0]), "rope.dimension_sections", "got [16, 16, 16, 0] of a head of 32"),
        (sections(&[-1, 4, 4, 0]), "rope.dimension_sections", "got [-1, 4, 4, 0]"),
    ] {
        let refusal = refusal(read(&spec, &spec.tensors()));
        assert!(refusal.contains(&format!("`qwen3.{key}`: expected ")) && refusal.contains(words), "{refusal}");
    }
    // Half of it is turned.
    let step35 = Spec { architecture: "step35".to_owned(), ..Spec::tiny() };
    let refusal = refusal(read(&step35.with(".rope.dimension_count", n(6)), &Spec::tiny().tensors()));
    assert!(refusal.contains("expected a multiple of 4, got 6"), "{refusal}");
    // Architectures without such positions may have heads of any size.
    let gpt2 = Spec { architecture: "gpt2".to_owned(), ..Spec::tiny() }.with(".attention.key_length", n(7));
    for spec in [sections(&[8, 8, 8, 0]), gpt2.without(".rope.dimension_count"), Spec::mamba()] {
        assert!(read(&spec, &spec.tensors()).is_ok(), "{spec:?}");
    }
}

/// llama.cpp ends the process where no layer uses an input that it made.
#[test]
fn families_of_two_kinds_of_layers_have_both() {
    let numbers = |list: &[i32]| Value::I32s(list.to_vec());
    let of = |architecture: &str| Spec { architecture: architecture.to_owned(), ..Spec::tiny() };
    for (spec, key) in [
        (of("jamba"), "attention.head_count_kv"),
        (of("lfm2").with(".attention.head_count_kv", numbers(&[0, 0])), "attention.head_count_kv"),
        (
            of("kimi-linear")
                .with(".attention.head_count_kv", numbers(&[0, 2]))
                .with(".nextn_predict_layers", Value::U32(1)),
            "attention.head_count_kv",
        ),
        (of("nemotron_h").with(".attention.head_count_kv", numbers(&[0, 2])), "feed_forward_length"),
        (of("qwen3next"), "block_count"),
        (of("qwen35").with(".full_attention_interval", Value::U32(1)), "full_attention_interval"),
        (of("llama4"), "block_count"),
        (of("minimax-m3").with(".leading_dense_block_count", Value::U32(2)), "leading_dense_block_count"),
        (of("deci").with(".feed_forward_length", Value::U32(0)), "feed_forward_length"),
        (
            of("mamba2").with(".ssm.time_step_rank", Value::U32(4)).with(".ssm.group_count", Value::U32(32)),
            "ssm.group_count",
        ),
    ] {
        let refusal = refusal(read(&spec, &spec.tensors()));
        assert!(refusal.contains(&format!("`{}.{key}`: expected ", spec.architecture)), "{refusal}");
    }
    for spec in [
        of("jamba").with(".attention.head_count_kv", numbers(&[0, 2])),
        of("qwen3next").with(".full_attention_interval", Value::U32(2)),
        of("qwen3next").with(".attention.recurrent_layers", numbers(&[1, 0])),
        Spec { n_layer: 4, ..of("llama4") },
    ] {
        assert!(read(&spec, &spec.tensors()).is_ok(), "{spec:?}");
    }
}

/// llama.cpp compares every name with all before it: a minute for 60,000.
#[test]
fn more_tensors_and_keys_than_models_have_are_refused() {
    let spec = Spec::tiny();
    let tensors = |n: usize| -> Vec<Tensor> {
        (0..n).map(|i| Tensor { name: format!("blk.{i}.bias"), dims: vec![1], kind: Kind::F32 }).collect()
    };
    assert!(read(&spec, &tensors(192)).is_ok());
    let words = refusal(read(&spec, &tensors(193)));
    assert!(words.contains("has 193 tensors, expected at most 192; "), "{words}");
    let words = refusal(read(&spec.clone().without(".block_count"), &tensors(60_000)));
    assert!(words.contains("has 60000 tensors, expected at most 32832; "), "{words}");
    let keys = (0..10_000).fold(spec, |spec, i| spec.with(&format!("general.tag{i}"), Value::Bool(true)));
    let words = refusal(read(&keys, &keys.tensors()));
    assert!(words.contains("keys, expected at most 10000; "), "{words}");
}

/// A LoRA adapter for the tiny model.
fn lora(folder: &Path, targets: &[(&str, u32, u32)]) -> std::path::PathBuf {
    let targets = targets.iter().map(|&(name, columns, rows)| (name.to_owned(), columns, rows)).collect();
    let path = folder.join("adapter.gguf");
    let adapter =
        Adapter { architecture: "llama".to_owned(), rank: 4, targets, alpha: 4.0, seed: 3, metadata: Vec::new() };
    adapter.write(&path).expect("writable");
    path
}

/// A pair whose halves lie as llama.cpp has them for an embedding.
fn of_embedding(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("embedding.gguf");
    let metadata = [("general.type", "adapter"), ("general.architecture", "llama"), ("adapter.type", "lora")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), Value::Text(value.to_owned())));
    let half =
        |name: &str, rows| Tensor { name: format!("token_embd.weight.{name}"), dims: vec![4, rows], kind: Kind::F32 };
    Spec::tiny().write_part(&path, &metadata, &[half("lora_a", 300), half("lora_b", 64)]).expect("writable");
    path
}

fn proxytune(args: &[&Path]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
    let output = command.args(args).args(["-t", "1", "-c", "32"]).output().expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("no signal"), String::from_utf8(said).expect("UTF-8"))
}

#[test]
fn an_adapter_for_an_embedding_that_is_the_output_too_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [tied, own] = ["tied.gguf", "own.gguf"].map(|name| folder.path().join(name));
    let mut tensors = Spec::tiny().tensors();
    Spec::tiny().write_part(&own, &Spec::tiny().metadata(), &tensors).expect("writable");
    tensors.retain(|tensor| tensor.name != "output.weight");
    Spec::tiny().write_part(&tied, &Spec::tiny().metadata(), &tensors).expect("writable");
    let lora = of_embedding(folder.path());
    let generate = |model: &Path| {
        let mut args = vec!["generate".as_ref(), "-m".as_ref(), model, "-me".as_ref(), model, "-ma".as_ref()];
        args.extend(["none", "-p", "ab", "-n2", "--lora"].map(Path::new));
        proxytune(&[&args[..], &[lora.as_path()]].concat())
    };
    let (code, said) = generate(&tied);
    assert!(code == 1 && said.contains("changes the embedding, which is this model's output too"), "{code}: {said}");
    assert!(said.contains("hint: name a LoRA adapter"), "{said}");
    let (code, said) = generate(&own);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn tensors_of_an_adapter_that_are_not_applied_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = folder.path().join("model.gguf");
    Spec::tiny().write(&model).expect("writable");
    let lora = lora(folder.path(), &[("blk.0.attn_q.weight", 64, 64), ("blk.1.ffn_norm.weight", 64, 1)]);
    let left_out = adapter::check(&lora, &Header::read(&model).expect("a header")).expect("an adapter");
    assert_eq!(left_out, ["blk.1.ffn_norm.weight"]);
    let words = "llama.cpp does not apply what";
    let check: [&Path; 5] = ["check".as_ref(), "-m".as_ref(), &model, "--lora".as_ref(), &lora];
    let (code, said) = proxytune(&check);
    let line = said.lines().find(|line| line.contains(words)).expect("it is told");
    assert!(code == 0 && line.starts_with("warning ") && line.ends_with("for `blk.1.ffn_norm.weight`"), "{said}");
    let generate = ["-ma", "none", "-p", "ab", "-n1", "-me"].map(Path::new);
    let (code, said) = proxytune(&[&["generate".as_ref()], &check[1..], &generate, &[&model]].concat());
    assert!(code == 0 && said.contains("note: base: llama.cpp does not apply"), "{said}");
}

/// Base and expert are one file: the expert's adapter is decoded with as well.
#[test]
fn a_deep_look_takes_in_every_adapter() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = folder.path().join("model.gguf");
    Spec::tiny().write(&model).expect("writable");
    let lora = lora(folder.path(), &[("blk.0.attn_q.weight", 64, 64), ("blk.1.ffn_up.weight", 64, 64)]);
    let mut args: Vec<&Path> = ["check", "--deep", "-m"].map(Path::new).to_vec();
    args.extend([model.as_path(), "-me".as_ref(), &model, "--expert-lora".as_ref(), &lora, "-ma".as_ref(), &model]);
    let (code, said) = proxytune(&args);
    assert_eq!(code, 0, "{said}");
    for role in ["base", "expert"] {
        assert!(
            said.lines().any(|line| line.starts_with("ok ") && line.contains(&format!("{role} weights"))),
            "{said}"
        );
    }
    // The last weight of the adapter's data is not a number.
    let mut bytes = std::fs::read(&lora).expect("readable");
    let n = bytes.len();
    bytes[n - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&lora, bytes).expect("writable");
    let (code, said) = proxytune(&args);
    assert!(
        code == 1 && said.lines().any(|line| line.starts_with("refused") && line.contains("expert weights")),
        "{said}"
    );
}
