//! Damaged files through the whole program, each in a child process: a message and an exit code, never a signal, never
//! a hang, and no more memory than a small model needs.

use std::path::{Path, PathBuf};
use std::process::Command;

use self::trial::MAX_RESIDENT_KB;
use crate::gguf::{Spec, TokenType, Value};
use crate::strangers::child::run;
use crate::strangers::random::{one_of, random};

mod models;
mod trial;

/// Damaged files in a normal run.
const N_FILES: u64 = 200;

/// A well-formed file, where the entries of its header end, and ends of keys with a number of four bytes.
struct Whole {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    keys: &'static [&'static str],
}

impl Whole {
    fn of(spec: &Spec, folder: &Path) -> Self {
        let keys = &[
            "context_length",
            "embedding_length",
            "block_count",
            "feed_forward_length",
            "head_count",
            "head_count_kv",
            "layer_norm_rms_epsilon",
            "dimension_count",
            "bos_token_id",
            "eos_token_id",
        ];
        Self::written(folder, keys, |path| spec.write(path))
    }

    fn written(
        folder: &Path,
        keys: &'static [&'static str],
        write: impl FnOnce(&Path) -> std::io::Result<Vec<usize>>,
    ) -> Self {
        let path = folder.join("whole.gguf");
        let ends = write(&path).expect("writable");
        Self { bytes: std::fs::read(&path).expect("readable"), ends, keys }
    }

    fn header(&self) -> usize {
        *self.ends.last().expect("a header")
    }
}

/// A file that was cut, overwritten or changed.
fn damaged(wholes: &[Whole], seed: u64) -> Vec<u8> {
    let whole = &wholes[(seed / 8) as usize % wholes.len()];
    let mut bytes = whole.bytes.clone();
    let header = whole.header();
    let place = |k| random(seed, k) as usize % header;
    match seed % 8 {
        // In order, so that a long run cuts behind every entry.
        0 => bytes.truncate(whole.ends[(seed / 8) as usize / wholes.len() % whole.ends.len()]),
        1 => bytes.truncate(random(seed, 1) as usize % whole.bytes.len()),
        2 => (0..=random(seed, 1) % 8).for_each(|k| bytes[place(k + 2)] ^= 1 << (random(seed, k + 20) % 8)),
        4 => {
            let at = place(2).min(header - 8);
            let huge = one_of(&[u64::MAX, 1 << 62, 1 << 40, 1 << 31, 0, u64::from(u32::MAX)], seed, 3);
            bytes[at..at + 8].copy_from_slice(&huge.to_le_bytes());
        }
        // The four bytes behind an entry's end: a value's type, a tensor's shape, the next name's length.
        5 => {
            let at = one_of(&whole.ends, seed, 1).min(header - 4);
            let number = one_of(&[0, 1, 4, 5, 8, 9, 13, 255, u32::MAX], seed, 2);
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        // The value of a numeric entry: most keys end in a name, a type and four bytes.
        _ => {
            let key = one_of(whole.keys, seed, 1).as_bytes();
            let at = bytes.windows(key.len()).position(|window| window == key).expect("the key is there");
            let value = at + key.len() + 4;
            let number = [0, 1, 7, 64, 4096, u64::from(u32::MAX), random(seed, 2)][random(seed, 3) as usize % 7];
            bytes[value..value + 4].copy_from_slice(&(number as u32).to_le_bytes());
        }
    }
    bytes
}

/// Models that are written as somebody might: every one is wrong in its own way, or only odd.
fn wrong(seed: u64, folder: &Path) -> PathBuf {
    let path = folder.join(format!("{seed}.gguf"));
    let tiny = Spec { seed, ..Spec::tiny() };
    let name = |n: u64| format!("token{}", 260 + n % 40);
    let families = [
        "bert",
        "t5",
        "clip",
        "mamba",
        "rwkv7",
        "gpt2",
        "qwen3",
        "phi3",
        "jamba",
        "deepseek2",
        "gemma3",
        "llada",
        "dbrx",
    ];
    let spec = match random(seed, 0) % 9 {
        0 => {
            let mut spec = tiny;
            spec.tokens[262 + random(seed, 1) as usize % 30].0 = name(random(seed, 2));
            spec
        }
        1 => Spec { first_output_weight: Some(one_of(&[f32::NAN, f32::INFINITY], seed, 1)), ..tiny },
        2 => Spec {
            tokenizer: one_of(&["none", "bert", "t5", "rwkv", "llama", "plamo2", "test", "gemma4"], seed, 1),
            ..tiny
        },
        3 => Spec { architecture: one_of(&families, seed, 1).to_owned(), ..tiny },
        4 => {
            // A key of another type.
            let keys = [
                "general.architecture",
                ".block_count",
                ".context_length",
                ".attention.head_count",
                ".rope.dimension_count",
                "tokenizer.ggml.model",
                "tokenizer.ggml.tokens",
                "tokenizer.ggml.token_type",
                "tokenizer.ggml.merges",
                "tokenizer.ggml.bos_token_id",
                "general.alignment",
                "general.name",
                "tokenizer.chat_template",
            ];
            let values = [
                Value::U16(1),
                Value::I32(-1),
                Value::F32(0.5),
                Value::Bool(true),
                Value::Text("x".to_owned()),
                Value::Texts(vec!["a".to_owned()]),
                Value::I32s(vec![1; 3]),
                Value::F32s(vec![f32::NAN; 2000]),
            ];
            tiny.with(one_of(&keys, seed, 1), one_of(&values, seed, 2))
        }
        5 => tiny.without(one_of(
            &[
                "general.architecture",
                ".block_count",
                ".context_length",
                ".embedding_length",
                ".attention.head_count",
                "tokenizer.ggml.model",
                "tokenizer.ggml.tokens",
                "tokenizer.ggml.merges",
                "tokenizer.ggml.pre",
            ],
            seed,
            1,
        )),
        6 => return wrong_split(seed, folder, &tiny),
        7 => {
            let mut spec = Spec { seed, ..Spec::sentence_piece() };
            spec.tokens.retain(|(_, kind)| *kind != TokenType::Byte || random(seed, 1).is_multiple_of(2));
            spec.tokens.truncate(1 + random(seed, 2) as usize % spec.tokens.len());
            spec
        }
        _ => tiny.with(
            one_of(&["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"], seed, 1),
            Value::U32(random(seed, 2) as u32),
        ),
    };
    spec.write(&path).expect("writable");
    path
}

/// A model in several files of which one is missing or misplaced; the name of the first.
fn wrong_split(seed: u64, folder: &Path, spec: &Spec) -> PathBuf {
    let parts = 2 + random(seed, 1) as usize % 3;
    let part = 1 + random(seed, 2) as usize % (parts - 1);
    let inside = folder.join(seed.to_string());
    std::fs::create_dir(&inside).expect("writable");
    let first = spec.write_split(&inside, parts, |at, metadata| {
        if at == part {
            let wrong = one_of(&[Value::U32(1), Value::U16(9), Value::Text(String::new())], seed, 3);
            metadata.retain(|(key, _)| key != "split.no");
            metadata.push(("split.no".to_owned(), wrong));
        }
    });
    if random(seed, 4).is_multiple_of(2) {
        std::fs::remove_file(inside.join(format!("split-{:05}-of-{parts:05}.gguf", part + 1))).expect("there");
    }
    first.expect("writable")
}

/// Runs `args`; the complaint if it did not end well. What is said, and where, is the command's to choose.
fn survives(args: &[&str], said_in: fn(&str) -> bool) -> Result<(), String> {
    let (outcome, said) = run(Command::new(env!("CARGO_BIN_EXE_proxytune")).args(args), MAX_RESIDENT_KB, said_in);
    if outcome.is_fine() { Ok(()) } else { Err(format!("{outcome}: {said}")) }
}

#[test]
fn damaged_files_end_in_a_message() {
    let seeds = seeds(N_FILES);
    let n_files = seeds.end - seeds.start;
    let mut folder = tempfile::tempdir().expect("a temporary folder");
    let wholes = [Spec::tiny(), Spec::sentence_piece(), Spec::gemma()].map(|spec| Whole::of(&spec, folder.path()));
    let mut complaints = Vec::new();
    for seed in seeds {
        let path = if seed % 4 == 3 {
            wrong(seed, folder.path())
        } else {
            let path = folder.path().join(format!("{seed}.gguf"));
            std::fs::write(&path, damaged(&wholes, seed)).expect("writable");
            path
        };
        let model = path.to_str().expect("UTF-8");
        let generate =
            ["generate", "-m", model, "-me", model, "-ma", "none", "-p", "ab", "-n", "2", "-t", "1", "-c", "32"];
        let check = ["check", "-m", model, "-me", model, "-ma", "none", "-t", "1", "-c", "32"];
        let mut is_fine = true;
        for (args, said_in) in [
            (&generate[..], (|said: &str| said.contains("error: ")) as fn(&str) -> bool),
            (&check, |said: &str| said.contains("refused ") && said.contains("This cannot run")),
        ] {
            if let Err(complaint) = survives(args, said_in) {
                is_fine = false;
                complaints.push(format!("{model}, {}: {complaint}", args[0]));
            }
        }
        if is_fine {
            std::fs::remove_file(&path).expect("removable");
        }
    }
    folder.disable_cleanup(!complaints.is_empty());
    assert!(complaints.is_empty(), "{} of {n_files}:\n{}", complaints.len(), complaints.join("\n"));
}

/// Adapters are files of strangers too: a quarter as many.
#[test]
fn damaged_adapters_end_in_a_message() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = folder.path().join("model.gguf");
    Spec::tiny().write(&model).expect("writable");
    let model = model.to_str().expect("UTF-8");
    let adapter = crate::gguf::Adapter {
        architecture: "llama".to_owned(),
        rank: 4,
        targets: [("attn_q", 64, 64), ("ffn_up", 64, 64), ("attn_norm", 64, 1)]
            .map(|(name, columns, rows)| (format!("blk.1.{name}.weight"), columns, rows))
            .to_vec(),
        alpha: 8.0,
        seed: 1,
        metadata: Vec::new(),
    };
    let fitting = crate::gguf::Adapter { targets: adapter.targets[..2].to_vec(), ..adapter.clone() };
    let wholes = [&fitting, &adapter].map(|adapter| {
        Whole::written(folder.path(), &["adapter.lora.alpha", "adapter.type", "general.type"], |path| {
            adapter.write(path)
        })
    });
    let path = folder.path().join("damaged.gguf");
    let mut complaints = Vec::new();
    for seed in seeds(N_FILES).step_by(4) {
        std::fs::write(&path, damaged(&wholes, seed / 4)).expect("writable");
        let lora = path.to_str().expect("UTF-8");
        let args = ["generate", "-m", model, "-me", model, "--expert-lora", lora, "-ma", model];
        let args = [&args[..], &["-p", "ab", "-n", "2", "-t", "1", "-c", "32"]].concat();
        if let Err(complaint) = survives(&args, |said| said.contains("error: ")) {
            complaints.push(format!("{seed}: {complaint}"));
        }
    }
    assert!(complaints.is_empty(), "{}:\n{}", complaints.len(), complaints.join("\n"));
}

/// `PROXYTUNE_HOSTILE=2000` tries so many, `PROXYTUNE_HOSTILE=478..480` those alone.
fn seeds(n_files: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("PROXYTUNE_HOSTILE").unwrap_or_else(|_| n_files.to_string());
    let (from, to) = asked.split_once("..").unwrap_or(("0", &asked));
    let number = |text: &str| text.parse().expect("PROXYTUNE_HOSTILE is a number or a range");
    number(from)..number(to)
}

/// An entry that says it is 8 GiB long, in a file that is: nothing is read that no model has.
#[test]
fn a_sparse_file_does_not_ask_for_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("bomb.gguf");
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    for number in [0_u64, 1] {
        bytes.extend(number.to_le_bytes());
    }
    for kind in [0_u32, 8, 10] {
        let mut bomb = bytes.clone();
        bomb.extend(1_u64.to_le_bytes());
        bomb.extend(b"a");
        bomb.extend(9_u32.to_le_bytes());
        bomb.extend(kind.to_le_bytes());
        bomb.extend((1_u64 << 30).to_le_bytes());
        std::fs::write(&path, &bomb).expect("writable");
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(9 << 30)).expect("a sparse file");
        let model = path.to_str().expect("UTF-8");
        assert_eq!(survives(&["check", "-m", model], |said| said.contains("refused ")), Ok(()), "{kind}");
    }
}

/// Small well-formed files for the fuzz target that reads headers.
#[test]
#[ignore = "writes fuzz/seeds/header"]
fn write_fuzz_seeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/header");
    std::fs::create_dir_all(&folder).expect("writable");
    let small = |mut spec: Spec| {
        spec.tokens.truncate(12);
        Spec { n_embd: 32, n_head: 1, n_head_kv: 1, n_ff: 32, n_layer: 1, kind: crate::gguf::Kind::Q4_0, ..spec }
    };
    let experts =
        small(Spec::tiny()).with(".expert_count", Value::U32(4)).with(".expert_used_count", Value::I32s(vec![2]));
    for (name, spec) in [
        ("bytes", small(Spec::tiny())),
        ("sentence-piece", small(Spec::sentence_piece())),
        ("gemma", small(Spec::gemma())),
        ("experts", experts),
        ("rwkv", Spec { tokenizer: "rwkv", ..small(Spec::tiny()) }),
        ("template", small(Spec::tiny()).with("tokenizer.chat_template", Value::Text("{{ messages }}".to_owned()))),
        ("aligned", small(Spec::tiny()).with("general.alignment", Value::U32(32))),
        ("tuned", small(Spec::tiny()).with("general.finetune", Value::Text("Instruct".to_owned()))),
    ] {
        spec.write(&folder.join(name).with_extension("gguf")).expect("writable");
    }
}
