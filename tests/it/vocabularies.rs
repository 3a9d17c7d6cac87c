//! Real vocabularies against each other, and trios whose small models number their tokens otherwise.

use std::path::{Path, PathBuf};

use proxytune::eval::Texts;
use proxytune::eval::calibrate::calibrate;
use proxytune::eval::kept::{Kept, Store};
use proxytune::eval::perplexity::{Predictor, measure};
use proxytune::gguf::Header;
use proxytune::recipe::Schedule;
use proxytune::steer::{Error, PairPlan, Plan, Sampled};
use proxytune::vocab::{Vocabulary, compare};

use crate::gguf::{Spec, TokenType};
use crate::trio::{backend, generate, greedy, load, model, sampled, source};

/// llama.cpp's own test vocabularies, where somebody has put them beside the project.
fn real() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vocab");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix("ggml-vocab-")?.strip_suffix(".gguf")?.to_owned();
        Some((name, path))
    };
    let mut found: Vec<_> = entries.filter_map(named).collect();
    found.sort();
    found
}

#[test]
fn real_vocabularies_get_the_right_verdict() {
    let vocabularies: Vec<_> = real()
        .into_iter()
        .filter_map(|(name, path)| {
            let vocabulary = Header::read(&path).and_then(|header| Vocabulary::of(&header));
            assert_eq!(vocabulary.is_err(), name == "bert-bge", "{name}: {:?}", vocabulary.err());
            Some((name, vocabulary.ok()?))
        })
        .collect();
    for (base, b) in &vocabularies {
        for (other, o) in &vocabularies {
            let expected = match (base.as_str(), other.as_str()) {
                (a, b) if a == b => "identical",
                // MPT was trained with GPT-NeoX's tokenizer.
                ("gpt-neox", "mpt") | ("mpt", "gpt-neox") => "identical",
                ("llama-spm", "phi-3") | ("phi-3", "llama-spm") => "drifted",
                _ => "different",
            };
            assert_eq!(compare(b, o).name(), expected, "{base} and {other}");
        }
    }
}

/// Nothing that llama.cpp loads is refused for its vocabulary, but what cannot continue text.
#[test]
fn real_vocabularies_load_in_llama_cpp() {
    for (name, path) in real() {
        let loads = proxytune::llama::probe::vocabulary(&backend(), &path).is_ok();
        let accepted = Header::read(&path).and_then(|header| Vocabulary::of(&header)).is_ok();
        assert!(loads && (accepted || name == "bert-bge"), "{name}: loads {loads}, accepted {accepted}");
    }
}

pub fn trio(folder: &Path, base: &Spec, expert: &Spec, antiexpert: &Spec) -> Plan {
    let write = |name: &str, spec: &Spec| {
        let path = folder.join(name).with_extension("gguf");
        spec.write(&path).expect("writable");
        path
    };
    let pair = PairPlan {
        alpha: Schedule::default(),
        expert: model(write("expert", expert)),
        antiexpert: model(write("antiexpert", antiexpert)),
        ..PairPlan::default()
    };
    Plan { pairs: vec![pair], ..Plan::alone(source(write("base", base))) }
}

/// The numbers up to `n` in another order, the same each time.
pub fn shuffled(n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&id| id.wrapping_mul(0x9e37_79b9) % 65_521);
    assert!(order.iter().enumerate().any(|(place, &id)| place != id));
    order
}

#[test]
fn a_pair_that_numbers_its_tokens_otherwise_steers_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for whole in [Spec::tiny(), Spec::sentence_piece()] {
        let role = |seed| Spec { seed, ..whole.clone() };
        let moved = |seed| Spec { order: Some(shuffled(whole.tokens.len())), ..role(seed) };
        let plain = trio(folder.path(), &role(1), &role(2), &role(3));
        let text = "abc de";
        let requests = [greedy(48), sampled(48, 7)];
        let answers = |plan: &Plan| {
            let mut steered = load(plan).expect("it loads");
            let report = measure(steered.engine.ensemble_mut(), text, &[Predictor::Steered(1.0)], None, |_, _| true);
            let mut losses: Vec<f64> =
                report.expect("figures").rows.iter().map(|row| row.figures.loss.mean()).collect();
            let texts = Texts::windows(steered.engine.ensemble_mut(), text, None).expect("a window");
            let kept = Kept::read(steered.engine.ensemble_mut(), &texts, Store::memory(), |_, _| true);
            let found = calibrate(&kept.expect("rows"), 1).expect("weights");
            losses.extend(found.rows.iter().map(|row| row.figures.loss.mean()));
            let answers =
                requests.each_ref().map(|request| generate(&mut steered, text, request).expect("it generates"));
            (answers, losses)
        };
        let (expected, losses) = answers(&plain);
        assert_ne!(expected[0].tokens, expected[1].tokens);
        // Both moved, one moved, and the base moved instead.
        for antiexpert in [moved(3), role(3)] {
            let plan = trio(folder.path(), &role(1), &moved(2), &antiexpert);
            let (answers, moved_losses) = answers(&plan);
            assert_eq!(answers, expected);
            // Summed in another order.
            assert!(losses.iter().zip(&moved_losses).all(|(a, b)| (a - b).abs() < 1e-6), "{losses:?} {moved_losses:?}");
        }
        let (base_moved, _) = answers(&trio(folder.path(), &moved(1), &role(2), &role(3)));
        assert_eq!(base_moved[0].text, expected[0].text);
    }
}

#[test]
fn other_special_tokens_need_leave_and_are_never_chosen() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let special = |text: &str| {
        let mut spec = Spec::tiny();
        spec.tokens.push((text.to_owned(), TokenType::Control));
        spec
    };
    let small = |seed| Spec { seed, ..special("<|theirs|>") };
    let mut plan = trio(folder.path(), &special("<|ours|>"), &small(2), &small(3));
    let error = load(&plan).expect_err("refused");
    assert!(matches!(error, Error::Drift { .. }), "{error}");
    assert!(error.to_string().contains("id 300 is \"<|theirs|>\", not \"<|ours|>\""), "{error}");
    plan.allow_drift = true;
    let mut steered = load(&plan).expect("it is allowed");
    assert_eq!(steered.ensemble().ends(Sampled::Steered).expect("there are some").never, [300]);
    for seed in 0..3 {
        let answer = generate(&mut steered, "abc", &sampled(64, seed)).expect("it generates");
        assert!(answer.tokens.iter().all(|&token| token != 300), "{:?}", answer.tokens);
    }
    assert!(matches!(steered.decode(&[300]), Err(Error::Lacking { token: 300, .. })));
}
