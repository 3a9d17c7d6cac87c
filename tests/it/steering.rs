//! The formula on real models: what it must reduce to, and what the lanes say it is.

use std::sync::atomic::AtomicBool;

use proxytune::generate::probs::Position;
use proxytune::generate::{Finish, Generation, Request};
use proxytune::llama::context::{Context, Outputs};
use proxytune::llama::model::Model;
use proxytune::sampling::Sampling;
use proxytune::steer::load::Models;
use proxytune::steer::{Role, SidePlan, Steered};

use crate::trio::{self, PROMPT, answer, demo, file, greedy, load, model, plan, sampled};

#[test]
fn alpha_zero_is_the_base_alone() {
    for request in [greedy(48), sampled(48, 7)] {
        assert_eq!(answer(&demo(0.0), &request), answer(&plan("base", &[]), &request));
    }
}

#[test]
fn the_same_expert_and_antiexpert_are_the_base_alone() {
    let pair = plan("base", &[(1.5, model(file("expert")), model(file("expert")))]);
    for request in [greedy(48), sampled(48, 7)] {
        assert_eq!(answer(&pair, &request), answer(&plan("base", &[]), &request));
    }
}

#[test]
fn the_base_as_antiexpert_is_the_expert_alone() {
    let expected = answer(&plan("expert", &[]), &greedy(48));
    for antiexpert in [Some(SidePlan::base()), model(file("base"))] {
        let pair = plan("base", &[(1.0, model(file("expert")), antiexpert)]);
        assert_eq!(answer(&pair, &greedy(48)), expected);
    }
}

#[test]
fn steering_changes_what_is_written() {
    let (base, steered) = (answer(&plan("base", &[]), &greedy(48)), answer(&demo(1.0), &greedy(48)));
    assert_ne!(base.text, steered.text);
}

#[test]
fn two_halves_of_a_pair_are_the_pair() {
    let half = |alpha| (alpha, model(file("expert")), model(file("antiexpert")));
    let halves = plan("base", &[half(0.5), half(0.5)]);
    assert_eq!(answer(&halves, &greedy(32)).text, answer(&demo(1.0), &greedy(32)).text);
}

#[test]
fn one_side_alone_is_added_or_taken_away() {
    let expert_only = plan("base", &[(1.0, model(file("expert")), None)]);
    let antiexpert_only = plan("base", &[(1.0, None, model(file("antiexpert")))]);
    let both = plan("base", &[(1.0, model(file("expert")), None), (1.0, None, model(file("antiexpert")))]);
    assert_eq!(answer(&both, &greedy(32)).text, answer(&demo(1.0), &greedy(32)).text);
    assert_ne!(answer(&expert_only, &greedy(32)).text, answer(&antiexpert_only, &greedy(32)).text);
}

/// A lane of its own for a role, after the same tokens.
fn logits_alone(role: &str, text: &str) -> Vec<f64> {
    let model = Model::load(&trio::backend(), &file(role), &trio::source(file(role)).model, |_| true).expect(role);
    let tokens = model.tokenize(text).expect("tokens");
    let mut context = Context::new(model.into(), &trio::source(file(role)).context).expect("a context");
    context.decode(&tokens, Outputs::Last).expect("it decodes");
    context.row(0, 0).expect("a row").iter().map(|&logit| f64::from(logit)).collect()
}

fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - max).exp()).sum();
    logits.iter().map(|logit| logit - max - sum.ln()).collect()
}

#[test]
fn reported_logprobs_are_those_of_the_lanes_in_f64() {
    let alpha = 1.25;
    let [base, expert, antiexpert] = ["base", "expert", "antiexpert"].map(|role| logits_alone(role, PROMPT));
    let composed: Vec<_> = (0..base.len()).map(|id| base[id] + alpha * (expert[id] - antiexpert[id])).collect();
    let [composed, base, expert, antiexpert] = [composed, base, expert, antiexpert].map(|row| log_softmax(&row));

    let mut steered = load(&demo(1.25)).expect("the trio loads");
    let prompts = steered.tokenize(PROMPT).expect("tokens");
    let stop = AtomicBool::new(false);
    let request = Request { n_probs: Some(5), ..greedy(1) };
    let mut generation = Generation::start(&mut steered, &prompts, &request, &stop).expect("it starts");
    let step = generation.step().expect("a step").expect("a token");
    let Position { chosen, top, changed, base_best } = step.position.expect("probs were asked for");

    let mut best: Vec<_> = (0..composed.len()).collect();
    best.sort_by(|&a, &b| composed[b].total_cmp(&composed[a]));
    assert_eq!(top.iter().map(|entry| entry.id as usize).collect::<Vec<_>>(), best[..5]);
    assert_eq!((chosen.id, chosen), (step.token, top[0]));
    let best_of_base = (0..base.len()).max_by(|&a, &b| base[a].total_cmp(&base[b]));
    assert_eq!(changed, best_of_base != Some(best[0]));
    assert_eq!(Some(base_best.id as usize), best_of_base);
    for entry in top {
        let id = entry.id as usize;
        let pairs = [
            (entry.composed, composed[id]),
            (entry.base, base[id]),
            (entry.expert.expect("an expert"), expert[id]),
            (entry.antiexpert.expect("an antiexpert"), antiexpert[id]),
        ];
        for (got, expected) in pairs {
            assert!((got - expected).abs() < 1e-4, "{got} against {expected}");
        }
    }
}

#[test]
fn each_file_is_loaded_once_and_each_prompt_decoded_once() {
    let mut models = Models::default();
    let pairs = [
        (1.0, model(file("expert")), model(file("antiexpert"))),
        (0.5, model(file("expert")), Some(SidePlan::base())),
        (0.5, model(file("base")), model(file("antiexpert"))),
    ];
    let steered = Steered::load(&trio::backend(), &plan("base", &pairs), &mut models, &mut |_, _, _| true);
    assert_eq!(models.n_loaded(), 3);
    let roles: Vec<_> = steered.expect("it loads").iter().map(|lane| lane.role()).collect();
    assert_eq!(roles, [Role::Base, Role::Expert(0), Role::Antiexpert(0)]);
}

#[test]
fn stop_strings_end_the_text_before_them() {
    let whole = answer(&demo(1.0), &greedy(40));
    let words: Vec<_> = whole.text.split(' ').collect();
    let stop = format!("{} {}", words[5], words[6]);
    let request = Request { stop: vec![stop.clone()], ..greedy(40) };
    let stopped = answer(&demo(1.0), &request);
    assert_eq!(stopped.finish, Finish::Stop);
    assert_eq!(stopped.text, whole.text.split_once(&stop).expect("it is there").0);
}

#[test]
fn whole_characters_whatever_the_tokens_are() {
    let sampling = Sampling { grammar: Some("root ::= \"é€😀\" root".to_owned()), ..Sampling::greedy() };
    let request = Request { sampling, n_predict: Some(7), ..Request::default() };
    let mut steered = load(&demo(1.0)).expect("the trio loads");
    let prompts = steered.tokenize(PROMPT).expect("tokens");
    let stop = AtomicBool::new(false);
    let mut generation = Generation::start(&mut steered, &prompts, &request, &stop).expect("it starts");
    let mut texts = Vec::new();
    while let Some(step) = generation.step().expect("a step") {
        texts.push(step.text);
    }
    let last = texts.pop().expect("seven tokens");
    assert!(texts.iter().all(|text| text.chars().all(|c| "é€😀".contains(c))), "{texts:?}");
    assert!(texts.iter().any(String::is_empty), "no character took two tokens: {texts:?}");
    assert!("é€😀é€😀".starts_with(texts.concat().as_str()), "{texts:?}");
    assert!(last.trim_end_matches('\u{fffd}').chars().all(|c| "é€😀".contains(c)), "{last:?}");
}

#[test]
fn an_eog_token_ends_it_unless_it_is_ignored() {
    let eog = load(&demo(1.0)).expect("the trio loads").eog().to_vec();
    assert!(!eog.is_empty(), "the trio has an end-of-generation token");
    let biased = Sampling { logit_bias: eog.iter().map(|&token| (token, 1e3)).collect(), ..Sampling::greedy() };
    let ended = answer(&demo(1.0), &Request { sampling: biased.clone(), ..Request::default() });
    assert_eq!((ended.tokens.len(), ended.text.as_str(), ended.finish), (1, "", Finish::Stop));
    let ignored = Sampling { ignore_eos: true, ..biased };
    let went_on = answer(&demo(1.0), &Request { sampling: ignored, ..greedy(12) });
    assert_eq!((went_on.tokens.len(), went_on.finish), (12, Finish::Length));
}

#[test]
fn n_predict_and_a_full_context_end_with_length() {
    assert_eq!(answer(&demo(1.0), &greedy(0)).tokens.len(), 0);
    assert_eq!(answer(&demo(1.0), &greedy(1)).tokens.len(), 1);
    let mut small = demo(1.0);
    small.contexts_mut().for_each(|context| context.n_ctx = 24);
    let sampling = Sampling { ignore_eos: true, ..Sampling::greedy() };
    let mut steered = load(&small).expect("the trio loads");
    let n_prompt = steered.tokenize(PROMPT).expect("tokens").base().len();
    let full = trio::generate(&mut steered, PROMPT, &Request { sampling, ..Request::default() }).expect("no error");
    assert_eq!(full.finish, Finish::Length);
    // The last token is written though it no longer fits: nothing has to follow it.
    assert_eq!(full.tokens.len(), 24 - n_prompt + 1);
}

#[test]
fn a_prompt_in_small_pieces_says_the_same() {
    let mut pieces = demo(1.0);
    pieces.contexts_mut().for_each(|context| context.n_batch = 3);
    let row = |plan| {
        let mut steered = load(&plan).expect("the trio loads");
        let prompts = steered.tokenize(PROMPT).expect("tokens");
        assert!(steered.prefill(&prompts, || true).expect("it decodes"));
        let mut row = Vec::new();
        steered.composed(0, 0.0, &mut row).expect("a row");
        row
    };
    let (whole, pieces) = (row(demo(1.0)), row(pieces));
    let furthest = whole.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Batches of another shape round differently; F16 KV caches alone make for some hundredths.
    assert!(furthest < 0.25, "{furthest}");
}

#[test]
fn cancelling_keeps_what_was_written() {
    let mut steered = load(&demo(1.0)).expect("the trio loads");
    let prompts = steered.tokenize(PROMPT).expect("tokens");
    let cancel = AtomicBool::new(false);
    let mut generation = Generation::start(&mut steered, &prompts, &greedy(100), &cancel).expect("it starts");
    assert!(generation.step().expect("a step").is_some());
    cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(generation.step().expect("no error").is_none());
    assert_eq!(generation.finish(), Some(Finish::Cancelled));
    let before = Generation::start(&mut steered, &prompts, &greedy(100), &cancel).expect("no error");
    assert_eq!(before.finish(), Some(Finish::Cancelled), "a prompt is cancelled too");
}

#[test]
fn a_lane_that_fails_takes_the_others_back() {
    let mut uneven = demo(1.0);
    let antiexpert = uneven.pairs[0].antiexpert.as_mut().and_then(|side| side.source.as_mut());
    antiexpert.expect("a model").context.n_ctx = 16;
    let mut steered = load(&uneven).expect("the trio loads");
    let prompts = steered.tokenize(PROMPT).expect("tokens");
    assert!(steered.prefill(&prompts, || true).expect("it decodes"));
    let n_past = |steered: &Steered| steered.iter().map(|lane| lane.n_past()).collect::<Vec<_>>();
    let token = prompts.base()[1];
    while steered.n_left() > 0 {
        steered.decode(&[token]).expect("it fits");
    }
    let before = n_past(&steered);
    let error = steered.decode(&[token]).expect_err("the antiexpert is full").to_string();
    assert!(error.starts_with("antiexpert:") && error.contains("16"), "{error}");
    assert_eq!(n_past(&steered), before);
    assert_eq!(before, [16, 16, 16]);
}
