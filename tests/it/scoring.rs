//! How probable the tokens of a prompt are, against the losses of `perplexity` and rows that are read by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proxytune::arithmetic::softmax;
use proxytune::engine::Engine;
use proxytune::eval::perplexity::{Predictor, measure};
use proxytune::generate::event::Kind;
use proxytune::generate::probs::Position;
use proxytune::generate::{Answer, Event, Finish, Input, Request};
use proxytune::llama::Token;
use proxytune::llama::context::ContextParams;
use proxytune::recipe::{Schedule, View};
use proxytune::sampling::Sampling;
use proxytune::steer::{Plan, Role, Sampled, SidePlan, Texts, WeightsRequest};

use crate::engine::{alone, engine, invariant, slots, together, unending, with_context};
use crate::gguf::Spec;
use crate::trio::{self, PROMPT, demo, greedy, load, model, plan};

const TEXT: &str =
    "The old man walked slowly down the road. He had a dog, and the dog was tired. \"We shall be home soon,\" he said.";

fn one(plan: &Plan) -> Engine {
    engine(&with_context(plan.clone(), &invariant()), Texts::ONE, slots(1))
}

/// Scores tokens and writes nothing behind them.
fn scoring(tokens: &[Token]) -> Request {
    Request { input: Input::Tokens(tokens.to_vec()), prompt_probs: Some(3), ..greedy(0) }
}

fn sum(answer: &Answer) -> f64 {
    let logprob = |position: &Position| position.chosen.composed.expect("a token that can be chosen");
    answer.prompt_positions.iter().map(logprob).sum()
}

/// The sums of log-probabilities are those losses: of base and expert alone, and steered.
fn same_as_perplexity(plan: &Plan, text: &str) {
    let mut engine = one(plan);
    let predictors = [0.75, -0.5].map(Predictor::Steered);
    let losses = measure(engine.ensemble_mut(), text, &predictors, None, |_, _| true).expect("it measures");
    assert_eq!(losses.n_texts, 1);
    let tokens = engine.ensemble().model(0).tokenize(text).expect("tokens");
    let expert = engine.ensemble().lane(Role::Expert(0)).expect("an expert");
    let own: Vec<_> =
        tokens.iter().map(|&token| engine.ensemble().lanes()[expert].id(token).expect("it has all")).collect();
    for (predictor, tokens) in [
        (Predictor::Alone(Role::Base), &tokens),
        (Predictor::Alone(Role::Expert(0)), &own),
        (predictors[0], &tokens),
        (predictors[1], &tokens),
    ] {
        let request = match predictor {
            Predictor::Alone(role) => Request { sampled: Sampled::Alone(role), ..scoring(tokens) },
            Predictor::Steered(alpha) => Request { weights: trio::alphas(&[alpha]), ..scoring(tokens) },
            Predictor::Planned => unreachable!("it is not measured"),
        };
        let answer = alone(&mut engine, &request);
        assert_eq!((&answer.failure, answer.finish), (&None, Some(Finish::Length)));
        let chosen: Vec<_> = answer.prompt_positions.iter().map(|position| position.chosen.id).collect();
        assert_eq!(chosen, tokens[1..]);
        let loss = losses.rows.iter().find(|row| row.predictor == predictor).expect("a row").figures.loss.mean();
        let mean = -sum(&answer) / chosen.len() as f64;
        assert!((mean - loss).abs() < 1e-6, "{predictor:?}: {mean} against {loss}");
    }
}

#[test]
fn the_sums_are_the_losses_of_perplexity() {
    same_as_perplexity(&demo(1.0), TEXT);
}

#[test]
fn a_pair_that_numbers_its_tokens_otherwise_scores_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let n = Spec::tiny().tokens.len();
    let order: Vec<_> = (0..n).map(|id| (id * 7) % n).collect();
    let [base, expert, antiexpert] = [(1, None), (2, Some(order.clone())), (3, Some(order))].map(|(seed, order)| {
        let path = folder.path().join(format!("{seed}.gguf"));
        Spec { seed, order, ..Spec::tiny() }.write(&path).expect("writable");
        path
    });
    let mut plan = plan("base", &[(1.0, model(expert), model(antiexpert))]);
    plan.base = trio::source(base).into();
    same_as_perplexity(&plan, "abc de");
}

/// Position by position, from rows that are read one by one.
#[test]
fn positions_are_those_of_the_rows() {
    const PLAUSIBILITY: f32 = 0.2;
    let mut steered = load(&with_context(demo(0.75), &invariant())).expect("the trio loads");
    let tokens = steered.model().tokenize(PROMPT).expect("tokens");
    let sampling = Sampling { plausibility: PLAUSIBILITY, ..Sampling::greedy() };
    let answer = steered.run(&Request { sampling, ..scoring(&tokens) });
    assert_eq!(answer.prompt_positions.len(), tokens.len() - 1);
    steered.engine.forget();
    let prompts = steered.ensemble().same(Sampled::Steered, &tokens[..1]).expect("prompts");
    steered.read(&prompts).expect("it decodes");
    for (i, position) in answer.prompt_positions.iter().enumerate() {
        let row = steered.composed(i, PLAUSIBILITY).expect("a row");
        let top: Vec<_> = position.top.iter().map(|logprob| logprob.id as usize).collect();
        assert_eq!(top, softmax::top(&row, 3));
        for logprob in position.top.iter().chain([&position.chosen]) {
            let expected = softmax::logprob(&row, logprob.id as usize);
            assert_eq!(logprob.composed, expected.is_finite().then_some(expected));
        }
        let base = steered.row(i).expect("a row").0;
        assert_eq!(position.base_top.id as usize, softmax::argmax(base).expect("a token"));
        assert_eq!(position.changed, softmax::argmax(&row) != softmax::argmax(base));
        steered.decode(&[tokens[i + 1]]).expect("it decodes");
    }
    let is_cut = |position: &Position| position.chosen.composed.is_none();
    assert!(answer.prompt_positions.iter().any(is_cut), "no token of the prompt is implausible");
}

/// What is written behind a prompt is the same, to the last bit, whether or not the prompt was looked at.
#[test]
fn the_answer_goes_on_as_without() {
    let mut engine = one(&demo(1.0));
    for sampled in [Sampled::Steered, Sampled::Alone(Role::Base)] {
        // α changes along the answer.
        let alpha = vec!["1.5@0..0@12".parse::<Schedule>().expect("a schedule")];
        let weights = WeightsRequest { alpha, ..WeightsRequest::default() };
        let request = Request { sampled, weights, n_probs: Some(2), ..Request::prompt(PROMPT) };
        let request = Request { n_predict: Some(24), sampling: Sampling::greedy(), ..request };
        let expected = alone(&mut engine, &request);
        let answer = alone(&mut engine, &Request { prompt_probs: Some(0), ..request.clone() });
        assert_eq!((&answer.tokens, &answer.positions), (&expected.tokens, &expected.positions));
        assert_eq!(answer.prompt_positions.len(), answer.started.prompts[0].tokens.len() - 1);
        // A prompt is as the answer's first position sees it.
        let first = Request { weights: trio::alphas(&[1.5]), prompt_probs: Some(0), ..request.clone() };
        assert_eq!(alone(&mut engine, &first).prompt_positions, answer.prompt_positions);
        // Its lanes hold it: all but the last token, which has to put out its row.
        let again = together(&mut engine, &[(Request { weights: trio::alphas(&[1.5]), ..first }, 0, None)], |_| {});
        assert_eq!(again[0].started.n_cached, 0, "rows are needed");
        let again = together(&mut engine, &[(request, 0, None)], |_| {});
        assert_eq!(again[0].started.prompts[0].n_cached, answer.started.prompts[0].tokens.len() - 1);
    }
}

#[test]
fn time_and_tokens_count_as_the_prompts() {
    let answer = alone(&mut one(&demo(1.0)), &Request { n_predict: Some(3), ..scoring(&[0, 20, 30, 40, 50]) });
    for (role, timings) in &answer.timings {
        assert_eq!((timings.n_prompt, timings.n_decode), (5, 2), "{role}");
    }
    assert_eq!(answer.started.prompts.len(), 3);
}

#[test]
fn a_step_has_as_many_as_there_are_rows() {
    let few = ContextParams { n_outputs_max: 3, ..invariant() };
    let tokens: Vec<Token> = (10..60).collect();
    let mut engine = engine(&with_context(demo(1.0), &few), Texts::ONE, slots(1));
    engine.submit(&scoring(&tokens)).expect("it is taken in");
    let (mut sizes, mut answer) = (Vec::new(), Answer::default());
    while engine.tick(&mut |_, event| {
        if let Event::Prompt(positions) = &event {
            sizes.push(positions.len());
        }
        answer.add(event);
    }) {}
    assert!(sizes.len() >= 17 && sizes.iter().all(|n| (1..=3).contains(n)), "{sizes:?}");
    assert_eq!(answer.prompt_positions, alone(&mut one(&demo(1.0)), &scoring(&tokens)).prompt_positions);
}

#[test]
fn others_go_on_in_every_tick() {
    let settings = slots(3);
    let mut many = engine(&with_context(demo(1.0), &invariant()), Texts::apart(3), settings);
    let writing = Request { n_predict: Some(120), sampling: unending(), ..Request::prompt(PROMPT) };
    let writing = many.submit(&writing).expect("it is taken in");
    many.tick(&mut |_, _| {});
    let tokens: Vec<Token> = (10..60).collect();
    for _ in 0..2 {
        many.submit(&scoring(&tokens)).expect("it is taken in");
    }
    while many.n_running() != (1, 0) {
        let (mut n_written, mut n_scored) = (0, 0);
        many.tick(&mut |id, event| match event {
            Event::Token(_) if id == writing => n_written += 1,
            Event::Prompt(positions) => n_scored += positions.len(),
            _ => {}
        });
        assert!(n_written > 0 && n_scored <= settings.n_chunk, "{n_written} written, {n_scored} scored");
    }
}

#[test]
fn one_that_is_cancelled_midway_leaves_a_sequence_that_serves() {
    let mut engine = one(&demo(1.0));
    let tokens: Vec<Token> = (10..80).collect();
    let expected = alone(&mut engine, &Request { n_predict: Some(8), ..scoring(&tokens) });
    engine.forget();
    let few = 10;
    let id = engine.submit(&scoring(&tokens)).expect("it is taken in");
    let mut answer = Answer::default();
    while answer.finish.is_none() {
        engine.tick(&mut |_, event| drop(answer.add(event)));
        if answer.prompt_positions.len() >= few {
            engine.cancel(id);
        }
    }
    let n = answer.prompt_positions.len();
    assert_eq!(answer.finish, Some(Finish::Cancelled));
    assert!((few..tokens.len() - 1).contains(&n), "{n}");
    assert_eq!(answer.prompt_positions, expected.prompt_positions[..n]);
    // What it has read is not read again, and the text is the same.
    let plain = Request { prompt_probs: None, n_predict: Some(8), ..scoring(&tokens) };
    let answer = together(&mut engine, &[(plain, 0, None)], |_| {}).remove(0);
    assert!(answer.started.prompts[0].n_cached >= few);
    assert_eq!(answer.tokens, expected.tokens);
}

#[test]
fn short_and_long_prompts() {
    let mut engine = one(&demo(1.0));
    let answer = alone(&mut engine, &Request { n_predict: Some(2), ..scoring(&[20]) });
    assert_eq!((answer.failure, answer.prompt_positions.len(), answer.tokens.len()), (None, 0, 2));
    let answer = alone(&mut engine, &scoring(&[20; 255]));
    assert_eq!((answer.failure, answer.prompt_positions.len()), (None, 254));
    let failure = engine.submit(&scoring(&[20; 256])).expect_err("refused");
    assert_eq!(failure.kind, Kind::ContextLength);
    let n_vocab = engine.ensemble().model(0).n_vocab();
    let all = alone(&mut engine, &Request { prompt_probs: Some(n_vocab), ..scoring(&[20, 30]) });
    assert_eq!(all.prompt_positions[0].top.len(), n_vocab);
    let failure =
        engine.submit(&Request { prompt_probs: Some(n_vocab + 1), ..scoring(&[20, 30]) }).expect_err("refused");
    assert!(failure.kind == Kind::Request && failure.message.contains("prompt-probs"), "{failure}");
}

#[test]
fn lanes_that_see_something_else_are_named() {
    let negative = View { prompt: Some("The meeting of the committee was".to_owned()), ..View::default() };
    let pair = (1.0, Some(SidePlan::base()), Some(SidePlan::base().seen_as(negative)));
    let mut guided = one(&plan("base", &[pair]));
    let text = |text: &str| Request { input: Input::text(text), prompt_probs: Some(1), ..greedy(1) };
    let failure = guided.submit(&text(PROMPT)).expect_err("refused");
    assert_eq!(failure.kind, Kind::Request);
    assert!(failure.message.contains("the antiexpert is given other tokens than the base"), "{failure}");
    assert!(failure.hint.is_some());
    // The same tokens on both, or one lane by itself.
    let tokens = guided.ensemble().model(0).tokenize(PROMPT).expect("tokens");
    for request in [scoring(&tokens), Request { sampled: Sampled::Alone(Role::Base), ..text(PROMPT) }] {
        let answer = alone(&mut guided, &request);
        assert_eq!((answer.failure, answer.prompt_positions.len()), (None, tokens.len() - 1));
    }
    // A text is the same on all lanes of the trio.
    let mut demo = one(&demo(1.0));
    let by_text = alone(&mut demo, &text(PROMPT));
    let by_tokens = alone(&mut demo, &Request { input: Input::Tokens(tokens), ..text(PROMPT) });
    assert!(by_text.prompt_positions.len() > 5);
    assert_eq!(by_text.prompt_positions, by_tokens.prompt_positions);
}

/// Models that cannot take a part of their text back begin anew when the decode of a neighbour fails.
#[test]
fn recurrent_lanes_that_lose_what_they_held_are_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = trio::with_recurrent_pair(folder.path());
    plan.contexts_mut().for_each(|context| context.n_batch = 8);
    let tokens: [Vec<Token>; 2] = [1, 7].map(|first| (first..first + 30).collect());
    let request = |tokens: &Vec<Token>| Request { n_predict: Some(2), ..scoring(tokens) };
    let mut faultless = engine(&plan, Texts::ONE, slots(1));
    let expected = tokens.each_ref().map(|tokens| alone(&mut faultless, &request(tokens)));
    let visits = tokens.each_ref().map(|tokens| (request(tokens), 0, None));
    let mut n_decodes = Vec::new();
    for k in (0..40).chain([usize::MAX]) {
        let mut many = engine(&plan, Texts::apart(2), slots(2));
        let n = Arc::new(AtomicUsize::new(0));
        let counter = n.clone();
        many.ensemble_mut().break_where(move |_, _| counter.fetch_add(1, Ordering::Relaxed) == k);
        for (answer, expected) in together(&mut many, &visits, |_| {}).iter().zip(&expected) {
            assert_eq!((&answer.failure, answer.prompt_positions.len()), (&None, 29), "decode {k}");
            // The arithmetic of these depends on what is decoded together.
            let (sum, expected) = (sum(answer), sum(expected));
            assert!((sum - expected).abs() < 0.05, "decode {k}: {sum} against {expected}");
        }
        n_decodes.push(n.load(Ordering::Relaxed));
    }
    let faultless = n_decodes[40];
    assert!(n_decodes.iter().any(|&n| n > faultless + 9), "nothing was read again: {n_decodes:?}");
}
