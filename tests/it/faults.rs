//! Files that cannot work together, and weights that are damaged: an error that names the role, never an abort.

use std::path::PathBuf;

use proxytune::eval::perplexity::{Predictor, measure};
use proxytune::steer::{Error, PairPlan, Plan, Sampled};

use crate::gguf::{Kind, Spec, TokenType, byte_tokens};
use crate::trio::{generate, greedy, load, model, sampled, source};

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
        let pair = PairPlan {
            alpha: proxytune::recipe::Schedule::default(),
            expert: model(expert),
            antiexpert: model(antiexpert),
            ..PairPlan::default()
        };
        Plan { pairs: vec![pair], ..Plan::alone(source(base)) }
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
    plan.base = source(files.write("padded.gguf", &padded)).into();
    let mut steered = load(&plan).expect("a padded base loads");
    let never = &steered.ensemble().ends(Sampled::Steered).expect("there are some").never;
    assert_eq!((steered.model().n_vocab(), never.len()), (320, 20));
    let answer = generate(&mut steered, "abc", &greedy(16)).expect("it generates");
    assert!(answer.tokens.iter().all(|&token| token < 300), "{:?}", answer.tokens);
    // A side alone adds what does not cancel: the padding must not win by it.
    plan.pairs[0].expert = None;
    for seed in 0..3 {
        let answer = generate(&mut load(&plan).expect("it loads"), "abc", &sampled(64, seed)).expect("it generates");
        assert!(answer.tokens.iter().all(|&token| token < 300), "{:?}", answer.tokens);
    }
    // The other way round: ids that only the small models have are dropped.
    plan.base = source(files.write("base.gguf", &Spec::tiny())).into();
    let mut wide = expert.clone();
    wide.tokens = padded.tokens;
    plan.pairs[0].expert = model(files.write("wide.gguf", &wide));
    plan.pairs[0].antiexpert = plan.pairs[0].expert.clone();
    let answer = generate(&mut load(&plan).expect("a padded pair loads"), "abc", &greedy(16)).expect("it generates");
    let base_alone = Plan::alone(plan.base.source().expect("a model").clone());
    let alone = generate(&mut load(&base_alone).expect("it loads"), "abc", &greedy(16)).expect("it generates");
    assert_eq!(answer, alone, "the same on both sides steers nowhere");
    assert_ne!(expected, alone, "the pair steers");
}

#[test]
fn tokens_that_llama_cpp_takes_for_the_same_are_found() {
    let files = Files::new();
    let with = |a: &str, b: &str| {
        let mut spec = Spec { seed: 3, ..Spec::tiny() };
        (spec.tokens[270].0, spec.tokens[280].0) = (a.to_owned(), b.to_owned());
        files.write("same.gguf", &spec)
    };
    let alone = |path| load(&Plan::alone(source(path)));
    assert!(alone(with("abc\0x", "abc\0y")).expect_err("refused").to_string().contains("twice"));
    assert!(alone(with("", "")).is_ok(), "empty tokens get names of their own");
}

#[test]
fn no_lane_ends_its_prompt_with_eos() {
    let files = Files::new();
    let mut steered = load(&files.trio(&Spec { seed: 3, add_eos: true, ..Spec::tiny() })).expect("it loads");
    let prompts = steered.tokenize("abc").expect("tokens");
    assert_eq!(steered.role(proxytune::steer::Role::Expert(0), &prompts), prompts.sampled());
    assert!(generate(&mut steered, "abc", &greedy(2)).is_ok());
}

/// Patterns of some tokenizers run through `std::regex`, which follows a match with its own stack.
#[test]
fn a_mebibyte_of_one_kind_is_tokenised() {
    let files = Files::new();
    let of = |pre| Spec { pre, ..Spec::tiny() };
    let all = &["a", "!", " ", "漢", "a\u{301}", "!\n"][..];
    // What SentencePiece spells byte by byte takes llama.cpp minutes: it moves all tokens for each one.
    for (spec, texts) in [
        (of("deepseek-v3"), all),
        (of("tekken"), all),
        (of("llama-bpe"), all),
        (Spec::sentence_piece(), &["a", " ", "a\u{301}"]),
    ] {
        let path = files.write("model.gguf", &spec);
        let steered = load(&Plan::alone(source(path))).expect("it loads");
        for text in texts {
            let name = text;
            let text = text.repeat((1 << 20) / text.len());
            let tokens = steered.tokenize(&text).expect("tokens");
            assert!(tokens.sampled().len() > 1 << 19, "{} {name:?}", spec.pre);
        }
    }
}

#[test]
fn another_vocabulary_is_refused_with_the_tokens_that_differ() {
    let files = Files::new();
    let mut other = Spec { seed: 3, ..Spec::tiny() };
    other.tokens[270].0 = "other".to_owned();
    let error = load(&files.trio(&other)).expect_err("refused");
    assert!(matches!(error, Error::Vocabulary { .. }));
    let error = error.to_string();
    assert!(error.contains("expert") && error.contains("id 270 is \"other\", not \"token270\""), "{error}");
    let longer = Spec { tokens: byte_tokens(310), ..Spec::tiny() };
    let error = load(&files.trio(&longer)).expect_err("refused").to_string();
    assert!(error.contains("310 tokens where the base has 300"), "{error}");
}

#[test]
fn damaged_weights_are_named_with_their_role() {
    for value in [f32::NAN, f32::INFINITY] {
        let files = Files::new();
        let damaged = Spec { seed: 3, first_output_weight: Some(value), ..Spec::tiny() };
        let mut steered = load(&files.trio(&damaged)).expect("llama.cpp loads it");
        let error = generate(&mut steered, "abc", &greedy(4)).expect_err("no token is chosen").to_string();
        assert!(error.starts_with("expert: the logit of token 0 is"), "{error}");
        let measured = measure(steered.engine.ensemble_mut(), "abcdef", &[Predictor::Steered(1.0)], None, |_, _| true);
        assert!(measured.expect_err("no figures").to_string().starts_with("expert: the logit of token 0 is"));
        let mut plan = files.trio(&Spec::tiny());
        plan.base = source(files.write("damaged.gguf", &damaged)).into();
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
        let plan = Plan::alone(source(&path));
        assert!(load(&plan).is_err(), "{n} bytes of {}", whole.len());
    }
}

/// llama.cpp reads the metadata of a file without tensors all the same, and asserts what it asserts.
#[test]
fn a_file_without_tensors_is_looked_at_too() {
    let files = Files::new();
    let mut bytes = std::fs::read(files.write("whole.gguf", &Spec { n_layer: 0, ..Spec::tiny() })).expect("readable");
    bytes[8..16].copy_from_slice(&0_u64.to_le_bytes());
    let path = files.0.path().join("no-tensors.gguf");
    std::fs::write(&path, &bytes).expect("writable");
    let error = load(&Plan::alone(source(&path))).expect_err("refused").to_string();
    assert!(error.contains("block_count"), "{error}");
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
        let plan = Plan::alone(source(&path));
        assert!(load(&plan).is_err(), "{name}");
        bytes[at..at + 8].copy_from_slice(&saved);
    }
}
