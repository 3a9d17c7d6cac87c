//! Files that cannot work together, and weights that are damaged: an error that names the role, never an abort.

use std::path::PathBuf;

use proxytune::llama::backend;
use proxytune::steer::{Error, PairPlan, Plan};

use crate::gguf::{Kind, Spec, TokenType, byte_tokens};
use crate::trio::{generate, greedy, load, model, source};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, spec: &Spec) -> PathBuf {
        let path = self.0.path().join(name);
        spec.write(&path).expect("writable");
        path
    }

    /// A trio of one vocabulary, the expert changed.
    fn trio(&self, expert: &Spec) -> Plan {
        let base = self.write("base.gguf", &Spec::tiny());
        let antiexpert = self.write("antiexpert.gguf", &Spec { seed: 2, ..Spec::tiny() });
        let expert = self.write("expert.gguf", expert);
        let pair = PairPlan { alpha: 1.0, expert: model(expert), antiexpert: model(antiexpert) };
        Plan { base: source(base), pairs: vec![pair] }
    }
}

#[test]
fn random_models_of_every_kind_generate() {
    let files = Files::new();
    for kind in [Kind::F32, Kind::Q8_0, Kind::Q4_0] {
        let mut steered = load(&files.trio(&Spec { seed: 3, kind, ..Spec::tiny() })).expect("it loads");
        let answer = generate(&mut steered, "abc", &greedy(8)).expect("it generates");
        assert!(!answer.tokens.is_empty());
    }
}

#[test]
fn an_expert_with_unused_ids_behind_the_shared_ones_steers_the_same() {
    let files = Files::new();
    let expert = Spec { seed: 3, ..Spec::tiny() };
    let mut plan = files.trio(&expert);
    let expected = generate(&mut load(&plan).expect("it loads"), "abc", &greedy(16)).expect("it generates");

    let mut padded = Spec::tiny();
    padded.tokens.extend((0..20).map(|i| (format!("[PAD{i}]"), TokenType::Unused)));
    plan.base = source(files.write("padded.gguf", &padded));
    let mut steered = load(&plan).expect("a padded base loads");
    assert_eq!(steered.base().n_vocab(), 320);
    assert!(generate(&mut steered, "abc", &greedy(16)).is_ok());
    // The other way round: ids that only the small models have are dropped.
    plan.base = source(files.write("base.gguf", &Spec::tiny()));
    let mut wide = expert.clone();
    wide.tokens = padded.tokens;
    plan.pairs[0].expert = model(files.write("wide.gguf", &wide));
    let answer = generate(&mut load(&plan).expect("a padded expert loads"), "abc", &greedy(16)).expect("it generates");
    assert_eq!(answer.tokens.len(), expected.tokens.len());
    assert!(answer.tokens.iter().all(|&token| token < 300));
}

#[test]
fn another_vocabulary_is_refused_with_the_tokens_that_differ() {
    let files = Files::new();
    let mut swapped = Spec { seed: 3, ..Spec::tiny() };
    swapped.tokens.swap(270, 271);
    let error = load(&files.trio(&swapped)).expect_err("refused");
    assert!(matches!(error, Error::Vocabulary { .. }));
    let error = error.to_string();
    assert!(error.contains("expert") && error.contains("id 270 is \"token270\" against \"token271\""), "{error}");
    let longer = Spec { tokens: byte_tokens(310), ..Spec::tiny() };
    let error = load(&files.trio(&longer)).expect_err("refused").to_string();
    assert!(error.contains("300 tokens against 310"), "{error}");
}

#[test]
fn damaged_weights_are_named_with_their_role() {
    for value in [f32::NAN, f32::INFINITY] {
        let files = Files::new();
        let damaged = Spec { seed: 3, first_output_weight: Some(value), ..Spec::tiny() };
        let mut steered = load(&files.trio(&damaged)).expect("llama.cpp loads it");
        let error = generate(&mut steered, "abc", &greedy(4)).expect_err("no token is chosen").to_string();
        assert!(error.starts_with("expert: the logit of token 0 is"), "{error}");
        let mut plan = files.trio(&Spec::tiny());
        plan.base = source(files.write("damaged.gguf", &damaged));
        let mut steered = load(&plan).expect("llama.cpp loads it");
        let error = generate(&mut steered, "abc", &greedy(4)).expect_err("no token is chosen").to_string();
        assert!(error.starts_with("base: the logit of token 0 is"), "{error}");
    }
}

#[test]
fn files_that_are_no_language_model_are_refused() {
    let files = Files::new();
    let refused = |spec: &Spec| load(&files.trio(spec)).expect_err("refused").to_string();
    let duplicate = {
        let mut spec = Spec::tiny();
        spec.tokens[280].0 = spec.tokens[270].0.clone();
        spec
    };
    assert!(refused(&duplicate).contains("\"token270\" twice, as id 270 and id 280"));
    let no_tokenizer = Spec { tokenizer: "none", ..Spec::tiny() };
    assert!(refused(&no_tokenizer).contains("tokenizer.ggml.model"));
    let unknown = Spec { architecture: "wonder".to_owned(), ..Spec::tiny() };
    let error = refused(&unknown);
    assert!(error.starts_with("expert: llama.cpp could not load"), "{error}");
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let files = Files::new();
    let whole = std::fs::read(files.write("whole.gguf", &Spec::tiny())).expect("readable");
    let path = files.0.path().join("cut.gguf");
    let header_ends = 9_000.min(whole.len());
    for n in (0..header_ends).step_by(97).chain([whole.len() - 1]) {
        std::fs::write(&path, &whole[..n]).expect("writable");
        let plan = Plan { base: source(&path), pairs: Vec::new() };
        assert!(load(&plan).is_err(), "{n} bytes of {}", whole.len());
    }
    drop(backend::shared());
}

#[test]
fn huge_counts_do_not_ask_for_memory() {
    let files = Files::new();
    let mut bytes = std::fs::read(files.write("whole.gguf", &Spec::tiny())).expect("readable");
    for (at, name) in [(8, "tensors"), (16, "metadata")] {
        let saved: [u8; 8] = bytes[at..at + 8].try_into().expect("eight bytes");
        bytes[at..at + 8].copy_from_slice(&(1_u64 << 62).to_le_bytes());
        let path = files.0.path().join(name);
        std::fs::write(&path, &bytes).expect("writable");
        let plan = Plan { base: source(&path), pairs: Vec::new() };
        assert!(load(&plan).is_err(), "{name}");
        bytes[at..at + 8].copy_from_slice(&saved);
    }
}
