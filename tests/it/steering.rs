//! The formula on real models: what it must reduce to, and what the lanes say it is.

use std::sync::atomic::{AtomicBool, Ordering};

use proxytune::generate::probs::Position;
use proxytune::generate::{Answer, Event, Finish, Request};
use proxytune::llama::context::{Context, Outputs};
use proxytune::llama::model::Model;
use proxytune::sampling::Sampling;
use proxytune::steer::{Models, Role, Sampled, SidePlan};

use crate::trio::{self, PROMPT, answer, demo, file, greedy, load, load_with, model, plan, sampled};

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
    let input = Request::prompt(PROMPT).input;
    let request = Request { n_probs: Some(5), divergence: true, ..Request { input, ..greedy(1) } };
    let answer = steered.run(&request);
    let Position { chosen, top, changed, base_top, divergence } = answer.positions[0].clone();
    let kl: f64 = composed.iter().zip(&base).map(|(p, q)| p.exp() * (p - q)).sum();
    let divergence = divergence.expect("it was asked for");
    assert!(kl > 0.01 && (divergence - kl).abs() < 1e-5, "{divergence} against {kl}");
    steered.engine.forget();
    let unasked = steered.run(&Request { divergence: false, ..request });
    assert_eq!(unasked.positions[0].divergence, None);

    let mut best: Vec<_> = (0..composed.len()).collect();
    best.sort_by(|&a, &b| composed[b].total_cmp(&composed[a]));
    assert_eq!(top.iter().map(|entry| entry.id as usize).collect::<Vec<_>>(), best[..5]);
    assert_eq!((chosen.id, &chosen), (answer.tokens[0], &top[0]));
    let best_of_base = (0..base.len()).max_by(|&a, &b| base[a].total_cmp(&base[b]));
    assert_eq!(changed, best_of_base != Some(best[0]));
    assert_eq!(Some(base_top.id as usize), best_of_base);
    for entry in top {
        let id = entry.id as usize;
        let pairs = [
            (entry.composed.expect("no token is forbidden"), composed[id]),
            (entry.base, base[id]),
            (entry.pairs[0].expert.expect("an expert"), expert[id]),
            (entry.pairs[0].antiexpert.expect("an antiexpert"), antiexpert[id]),
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
    let steered = load_with(&plan("base", &pairs), &mut models).expect("it loads");
    assert_eq!(models.n_loaded(), 3);
    assert_eq!(steered.roles(), [Role::Base, Role::Expert(0), Role::Antiexpert(0)]);
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
    let request = Request { input: Request::prompt(PROMPT).input, ..request };
    let (stop, mut answer, mut texts) = (AtomicBool::new(false), Answer::default(), Vec::new());
    let show = |event: &Event, text: &str| {
        if matches!(event, Event::Token(_)) {
            texts.push(text.to_owned());
        }
        Ok(())
    };
    steered.engine.run(&request, &stop, &mut answer, show).expect("nothing is written");
    assert_eq!(texts.len(), 7);
    // What was held back comes when it is known that nothing follows.
    let shown = texts.concat().len();
    texts.last_mut().expect("seven tokens").push_str(&answer.text[shown..]);
    let last = texts.pop().expect("seven tokens");
    assert!(texts.iter().all(|text| text.chars().all(|c| "é€😀".contains(c))), "{texts:?}");
    assert!(texts.iter().any(String::is_empty), "no character took two tokens: {texts:?}");
    assert!("é€😀é€😀".starts_with(texts.concat().as_str()), "{texts:?}");
    assert!(last.trim_end_matches('\u{fffd}').chars().all(|c| "é€😀".contains(c)), "{last:?}");
}

#[test]
fn an_eog_token_ends_it_unless_it_is_ignored() {
    let steered = load(&demo(1.0)).expect("the trio loads");
    let eog = steered.ensemble().ends(Sampled::Steered).expect("there are some").eog.clone();
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
    let n_prompt = steered.tokenize(PROMPT).expect("tokens").sampled().len();
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
        steered.read(&prompts).expect("it decodes");
        steered.composed(0, 0.0).expect("a row")
    };
    let (whole, pieces) = (row(demo(1.0)), row(pieces));
    let furthest = whole.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Batches of another shape round differently; F16 KV caches alone make for some hundredths.
    assert!(furthest < 0.25, "{furthest}");
}

#[test]
fn cancelling_keeps_what_was_written() {
    let mut steered = load(&demo(1.0)).expect("the trio loads");
    let cancel = AtomicBool::new(false);
    let request = Request { input: Request::prompt(PROMPT).input, ..greedy(100) };
    let mut answer = Answer::default();
    let show = |event: &Event, _: &str| {
        cancel.store(matches!(event, Event::Token(_)), Ordering::Relaxed);
        Ok(())
    };
    steered.engine.run(&request, &cancel, &mut answer, show).expect("nothing is written");
    assert_eq!((answer.finish, answer.tokens.len()), (Some(Finish::Cancelled), 1));
    let mut before = Answer::default();
    cancel.store(true, Ordering::Relaxed);
    steered.engine.run(&request, &cancel, &mut before, |_, _| Ok(())).expect("nothing is written");
    assert_eq!((before.finish, before.tokens.len()), (Some(Finish::Cancelled), 0), "a prompt is cancelled too");
}

#[test]
fn a_lane_that_fails_takes_the_others_back() {
    let mut uneven = demo(1.0);
    let antiexpert = uneven.pairs[0].antiexpert.as_mut().and_then(|side| side.source.as_mut());
    antiexpert.expect("a model").context.n_ctx = 16;
    let mut steered = load(&uneven).expect("the trio loads");
    let prompts = steered.tokenize(PROMPT).expect("tokens");
    steered.read(&prompts).expect("it decodes");
    let token = prompts.sampled()[1];
    for _ in prompts.sampled().len()..16 {
        steered.decode(&[token]).expect("it fits");
    }
    let before = steered.n_held();
    let error = steered.decode(&[token]).expect_err("the antiexpert is full").to_string();
    assert!(error.starts_with("antiexpert:") && error.contains("16"), "{error}");
    assert_eq!(steered.n_held(), before);
    assert_eq!(before, [16, 16, 16]);
}
