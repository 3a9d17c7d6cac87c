//! Many texts at once: each is, to the last bit, what it is by itself, whatever happens to its neighbours.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use proxytune::engine::{Engine, Id, Settings};
use proxytune::generate::draft::{Drafter, Length};
use proxytune::generate::event::Kind;
use proxytune::generate::{Answer, Draft, Event, Finish, Input, Request};
use proxytune::llama::Token;
use proxytune::llama::context::{ContextParams, FlashAttention};
use proxytune::prompt::Piece;
use proxytune::recipe::placement::CacheType;
use proxytune::recipe::{Recipe, Schedule, View};
use proxytune::sampling::Sampling;
use proxytune::steer::{Ensemble, Models, Plan, Role, Sampled, SidePlan, Texts, WeightsRequest};

use crate::speculation::sampling;
use crate::trio::{self, PROMPT, backend, demo, file, greedy, load, model, plan};

pub const N_SLOTS: usize = 4;

/// Rows that do not depend on how tokens are batched, with the bundled Q8_0 weights.
pub fn invariant() -> ContextParams {
    ContextParams {
        n_batch: 48,
        flash_attention: FlashAttention::On,
        cache_type_k: CacheType::Q8_0,
        cache_type_v: CacheType::Q8_0,
        ..trio::source("").context
    }
}

pub fn with_context(mut plan: Plan, context: &ContextParams) -> Plan {
    plan.contexts_mut().for_each(|own| own.clone_from(context));
    plan
}

pub fn engine(plan: &Plan, texts: Texts, settings: Settings) -> Engine {
    proxytune::llama::log::capture(false);
    let plan = Plan { texts, ..plan.clone() };
    let ensemble = Ensemble::load(&backend(), &plan, &mut Models::default(), &mut |_, _, _| true);
    Engine::new(ensemble.expect("it loads"), settings)
}

pub fn slots(n_slots: usize) -> Settings {
    Settings { n_slots, n_chunk: 7, ..Settings::default() }
}

/// Each text to its own end, one at a time.
pub fn alone(engine: &mut Engine, request: &Request) -> Answer {
    engine.forget();
    let (stop, mut answer) = (std::sync::atomic::AtomicBool::new(false), Answer::default());
    engine.run(request, &stop, &mut answer, |_, _| Ok(())).expect("nothing is written");
    answer
}

/// What an answer is, without what it took.
pub fn parts(answer: &Answer) -> Answer {
    let Answer { text, tokens, positions, prompt_positions, finish, stopped_by, is_full, failure, .. } = answer.clone();
    Answer { text, tokens, positions, prompt_positions, finish, stopped_by, is_full, failure, ..Answer::default() }
}

pub const PROMPTS: [&str; 6] = [
    PROMPT,
    "The dog was",
    "One two three one two three one two",
    "The cat sat on the mat. The dog sat on the mat. The cat sat on the",
    "In the morning the old man went down to the sea, and the boy who had waited for him since the night before stood up \
     and took the oars and the lines and carried them to the boat, for the old man was tired and had slept badly, and the",
    "He said:",
];

fn draft() -> impl Strategy<Value = Draft> {
    let length =
        prop_oneof![1 => Just(Length::Off), 1 => Just(Length::Auto), 2 => (1..9_usize).prop_map(Length::Fixed)];
    let drafters = prop::sample::select(vec![
        vec![Drafter::Expert],
        vec![Drafter::Base],
        vec![Drafter::Lookup],
        vec![Drafter::Lookup, Drafter::Expert],
    ]);
    (length, drafters).prop_map(|(length, drafters)| Draft { length, drafters, ..Draft::default() })
}

fn request(sampled: Vec<Sampled>, scores: bool) -> impl Strategy<Value = Request> {
    let stop = prop::sample::select(vec![None, None, Some(" was"), Some("the")]);
    // With the last two a pair rests from some token on, or until it is needed.
    let alpha = prop::option::of(prop::sample::select(vec!["0", "0.5", "1.5", "1@0,0@2", "0@0,1@20"]));
    let n_probs = prop::sample::select(vec![None, Some(2)]);
    let fields = (prop::sample::select(&PROMPTS[..]), sampling(), draft(), 0..24_usize, stop, alpha, n_probs);
    let prompt_probs = prop::option::weighted(0.3, 0..3_usize);
    let all = (fields, prop::sample::select(sampled), prompt_probs);
    all.prop_map(move |((prompt, sampling, draft, n_predict, stop, alpha, n_probs), sampled, prompt_probs)| {
        let prompt_probs = prompt_probs.filter(|_| scores || sampled != Sampled::Steered);
        let alpha = alpha.into_iter().map(|alpha| alpha.parse().expect("a schedule")).collect();
        let weights = WeightsRequest { alpha, ..WeightsRequest::default() };
        let stop = stop.into_iter().map(str::to_owned).collect();
        let n_predict = Some(n_predict);
        Request { sampled, sampling, weights, n_predict, stop, n_probs, prompt_probs, draft, ..Request::prompt(prompt) }
    })
}

/// What happens to a request: the tick at which it comes, and the one at which it is cancelled, if it is.
type Visit = (Request, usize, Option<usize>);

/// `scores`: all lanes are given the same prompts, so that steered requests may ask for their probabilities.
pub fn visits(sampled: &[Sampled], scores: bool) -> impl Strategy<Value = Vec<Visit>> + use<> {
    let visit = (request(sampled.to_vec(), scores), 0..24_usize, prop::option::weighted(0.2, 0..40_usize));
    prop::collection::vec(visit, 2..9)
}

/// Runs requests as they come and go; `tick` is told the number of each tick before it.
pub fn together(engine: &mut Engine, visits: &[Visit], mut tick: impl FnMut(usize)) -> Vec<Answer> {
    let mut answers: Vec<Answer> = visits.iter().map(|_| Answer::default()).collect();
    let mut ids: BTreeMap<Id, usize> = BTreeMap::new();
    let last = visits.iter().map(|(_, comes, _)| *comes).max().unwrap_or(0);
    for now in 0.. {
        for (i, (request, _, _)) in visits.iter().enumerate().filter(|(_, (_, comes, _))| *comes == now) {
            ids.insert(engine.submit(request).expect("it is taken in"), i);
        }
        for (&id, &i) in &ids {
            if visits[i].2 == Some(now) {
                engine.cancel(id);
            }
        }
        tick(now);
        let goes_on = engine.tick(&mut |id, event| {
            answers[ids[&id]].add(event);
        });
        if !goes_on && now >= last {
            break;
        }
        assert!(now < 10_000, "it does not end");
    }
    answers
}

pub fn run_cases(n: u32, strategy: impl Strategy<Value = (Vec<Visit>, Faults)>, test: impl Fn(Vec<Visit>, Faults)) {
    let config = Config { failure_persistence: None, max_shrink_iters: 200, ..Config::with_cases(n) };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let run = TestRunner::new_with_rng(config, rng).run(&strategy, |(visits, faults)| {
        test(visits, faults);
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}

/// Decodes that are broken off midway: every `every`th one once, and all of one sequence in a range of ticks.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    every: Option<usize>,
    poisoned: Option<(usize, std::ops::Range<usize>)>,
}

fn faults() -> impl Strategy<Value = Faults> {
    // Where a context holds two lanes, it has twice as many sequences.
    let poisoned = (0..2 * N_SLOTS, 0..20_usize, 1..12_usize).prop_map(|(seq, from, n)| (seq, from..from + n));
    (prop::option::weighted(0.3, 3..9_usize), prop::option::weighted(0.6, poisoned))
        .prop_map(|(every, poisoned)| Faults { every, poisoned })
}

/// Texts of an arrangement with neighbours against each by itself.
fn same_as_alone(plan: &Plan, sampled: &[Sampled], n_cases: u32) {
    let plan = with_context(plan.clone(), &invariant());
    let solo = RefCell::new(engine(&plan, Texts::ONE, slots(1)));
    let mut many = engine(&plan, Texts::apart(N_SLOTS), slots(N_SLOTS));
    // Which sequence's decodes fail, and after how many decodes the next one does.
    let (poison, countdown) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::new(AtomicUsize::new(usize::MAX)));
    {
        let (poison, countdown) = (poison.clone(), countdown.clone());
        many.ensemble_mut().break_where(move |_, seqs| {
            let n = countdown.load(Ordering::Relaxed);
            if n != usize::MAX {
                countdown.store(n.saturating_sub(1), Ordering::Relaxed);
            }
            n == 0 && {
                countdown.store(usize::MAX, Ordering::Relaxed);
                true
            } || seqs.contains(&poison.load(Ordering::Relaxed))
        });
    }
    let many = RefCell::new(many);
    let n_exact = AtomicUsize::new(0);
    let n_failed = AtomicUsize::new(0);
    // Of those that are exact, those whose prompts were looked at under the sum.
    let n_scored = AtomicUsize::new(0);
    let scores = {
        let many = many.borrow();
        let prompts =
            Request::prompt(PROMPT).input.prompts(many.ensemble().loaded(), Sampled::Steered, &[]).expect("prompts");
        many.ensemble().check_alike(Sampled::Steered, &prompts).is_ok()
    };
    run_cases(n_cases, (visits(sampled, scores), faults()), |visits, faults| {
        let (mut solo, mut many) = (solo.borrow_mut(), many.borrow_mut());
        let answers = together(&mut many, &visits, |now| {
            let in_range = |(seq, range): &(usize, std::ops::Range<usize>)| range.contains(&now).then_some(*seq);
            poison.store(faults.poisoned.as_ref().and_then(in_range).unwrap_or(usize::MAX), Ordering::Relaxed);
            if faults.every.is_some_and(|every| now % every == every - 1) {
                countdown.store(now % 3, Ordering::Relaxed);
            }
        });
        poison.store(usize::MAX, Ordering::Relaxed);
        countdown.store(usize::MAX, Ordering::Relaxed);
        for ((request, _, cancelled), answer) in visits.iter().zip(&answers) {
            let expected = alone(&mut solo, request);
            assert_eq!(expected.failure, None);
            if let Some(failure) = &answer.failure {
                assert!(faults.poisoned.is_some(), "nobody asked for {failure}");
                assert!(failure.message.contains("it was aborted"), "{failure}");
                n_failed.fetch_add(1, Ordering::Relaxed);
            } else if answer.finish == Some(Finish::Cancelled) {
                assert!(cancelled.is_some());
            } else {
                let (got, wanted) = (parts(answer), parts(&expected));
                let first = answer.positions.iter().zip(&expected.positions).position(|(a, b)| a != b);
                assert!(
                    got == wanted,
                    "differs from position {first:?} on: {:?}, {:?}; {request:?}",
                    got.text,
                    wanted.text
                );
                n_exact.fetch_add(1, Ordering::Relaxed);
                let is_scored = request.sampled == Sampled::Steered && !answer.prompt_positions.is_empty();
                n_scored.fetch_add(usize::from(is_scored), Ordering::Relaxed);
                continue;
            }
            // What was given out stays true.
            let n = answer.tokens.len();
            assert_eq!(answer.tokens, expected.tokens[..n]);
            let n = if request.n_probs.is_some() { n } else { 0 };
            assert_eq!(answer.positions, expected.positions[..n]);
            assert_eq!(answer.prompt_positions, expected.prompt_positions[..answer.prompt_positions.len()]);
        }
    });
    let (n_exact, n_failed, n_scored) = (n_exact.into_inner(), n_failed.into_inner(), n_scored.into_inner());
    assert_eq!(n_scored > 0, scores, "{n_scored} of {n_exact}");
    assert!(n_exact > n_cases as usize && n_failed > 0, "{n_exact} exact, {n_failed} failed");
}

#[test]
fn texts_of_the_trio_are_those_of_their_solo_runs() {
    let all = [Sampled::Steered, Sampled::Steered, Sampled::Alone(Role::Base), Sampled::Alone(Role::Expert(0))];
    same_as_alone(&demo(1.0), &all, 120);
}

#[test]
fn texts_of_other_arrangements_are_those_of_their_solo_runs() {
    let two = [
        (0.6, model(file("expert")), model(file("antiexpert"))),
        (-0.3, model(file("antiexpert")), Some(SidePlan::base())),
    ];
    let empty = View { prompt: Some("The meeting of the".to_owned()), ..View::default() };
    let guided = [(0.5, Some(SidePlan::base()), Some(SidePlan::base().seen_as(empty)))];
    for plan in [plan("base", &two), plan("base", &guided), plan("base", &[])] {
        same_as_alone(&plan, &[Sampled::Steered, Sampled::Alone(Role::Base)], 30);
    }
    let recipe = file("base").with_file_name("several.toml");
    let recipe = Recipe::open(recipe.to_str().expect("UTF-8")).expect("a recipe");
    let several = Plan::of_recipe(&recipe, &trio::source(""), &backend()).expect("a plan");
    same_as_alone(&several, &[Sampled::Steered, Sampled::Alone(Role::Expert(1))], 20);
}

/// What a long prompt may hold up the texts that are being written.
#[test]
fn a_long_prompt_is_read_in_pieces_beside_others() {
    let settings = slots(2);
    let mut many = engine(&with_context(demo(1.0), &invariant()), Texts::apart(2), settings);
    let writing = Request { n_predict: Some(60), sampling: unending(), draft: Draft::off(), ..Request::prompt(PROMPT) };
    let writing = many.submit(&writing).expect("it is taken in");
    many.tick(&mut |_, _| {});
    let n_lanes = many.ensemble().lanes().len();
    many.submit(&Request { n_predict: Some(1), ..Request::prompt(PROMPTS[4]) }).expect("it is taken in");
    let (mut n_read, mut n_pieces) = (0, 0);
    while many.n_running().0 + many.n_running().1 > 1 {
        let mut n_written = 0;
        many.tick(&mut |id, event| match event {
            Event::Token(_) if id == writing => n_written += 1,
            Event::Read { n } => {
                assert!(n - n_read <= settings.n_chunk * n_lanes, "{n_read} and then {n}");
                (n_read, n_pieces) = (n, n_pieces + 1);
            }
            _ => {}
        });
        assert_eq!(n_written, 1, "others go on in every tick");
    }
    assert!(n_pieces >= 7, "{n_read} tokens in {n_pieces} pieces");
}

/// A lane that drafts fails twice in a row, at any point of the rounds.
#[test]
fn a_draft_that_fails_costs_nothing_but_time() {
    let plan = with_context(demo(1.0), &invariant());
    let draft = Draft { length: Length::Fixed(4), drafters: vec![Drafter::Expert], ..Draft::default() };
    let request = Request { draft, n_predict: Some(16), sampling: unending(), ..Request::prompt(PROMPT) };
    let expected = alone(&mut engine(&plan, Texts::ONE, slots(1)), &request);
    for k in 1..12 {
        let mut many = engine(&plan, Texts::ONE, slots(1));
        let n = AtomicUsize::new(0);
        many.ensemble_mut().break_where(move |role, _| {
            role == Role::Expert(0) && (k..k + 2).contains(&n.fetch_add(1, Ordering::Relaxed))
        });
        let answer = alone(&mut many, &request);
        assert_eq!(parts(&answer), parts(&expected), "decodes {k} and {}", k + 1);
    }
}

/// A model that cannot take a part of its text back reads it again when the decode of a neighbour fails.
#[test]
fn a_recurrent_model_goes_on_after_a_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = trio::with_recurrent_pair(folder.path());
    let mut many = engine(&plan, Texts::apart(2), slots(2));
    let n = AtomicUsize::new(0);
    many.ensemble_mut().break_where(move |_, _| n.fetch_add(1, Ordering::Relaxed) % 7 == 6);
    let request = Request { n_predict: Some(12), sampling: unending(), ..Request::prompt("abc abc abc") };
    for answer in together(&mut many, &[(request.clone(), 0, None), (request, 3, None)], |_| {}) {
        assert_eq!((answer.failure, answer.tokens.len()), (None, 12));
    }
}

/// A lane that loses all it held in the step that ends a prompt, or later, catches up; the others' rows are there then.
#[test]
fn lanes_that_wait_for_one_that_reads_again_have_their_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = trio::with_recurrent_pair(folder.path());
    plan.contexts_mut().for_each(|context| context.n_batch = 8);
    for k in 0..48 {
        let mut many = engine(&plan, Texts::apart(2), slots(2));
        let n = AtomicUsize::new(0);
        many.ensemble_mut().break_where(move |_, _| n.fetch_add(1, Ordering::Relaxed) == k);
        let request = |first| Request {
            input: Input::Tokens((first..first + 20).collect()),
            sampling: unending(),
            draft: Draft::off(),
            ..greedy(8)
        };
        for answer in together(&mut many, &[(request(1), 0, None), (request(9), 1, None)], |_| {}) {
            assert_eq!((answer.failure, answer.tokens.len()), (None, 8), "decode {k}");
        }
    }
}

#[test]
fn as_many_as_get_slots_are_taken_in_at_once() {
    let settings = Settings { n_queue: 0, ..slots(3) };
    let mut many = engine(&with_context(demo(1.0), &invariant()), Texts::apart(3), settings);
    let request = greedy_of(PROMPT);
    for _ in 0..3 {
        many.submit(&request).expect("it is taken in");
    }
    assert_eq!(many.submit(&request).expect_err("refused").kind, Kind::Busy);
    // The events of those that are in would be lost.
    let refused = alone(&mut many, &request);
    assert_eq!(refused.failure.expect("refused").kind, Kind::Busy);
    let mut n_done = 0;
    while many.tick(&mut |_, event| n_done += usize::from(matches!(event, Event::Done(_)))) {}
    assert_eq!(n_done, 3);
}

#[test]
fn a_prompt_that_begins_as_one_before_it_is_not_read_again() {
    for texts in [Texts::sharing(3, 3), Texts::apart(3)] {
        let shares = texts.n_full.is_some();
        let mut many = engine(&with_context(demo(1.0), &invariant()), texts, slots(2));
        let read = |many: &mut Engine, tokens: &[Token]| {
            let visit = (Request { input: Input::Tokens(tokens.to_vec()), ..greedy(1) }, 0, None);
            let answer = together(many, &[visit], |_| {}).remove(0);
            (answer.started.n_prompt - answer.started.n_cached) / 3
        };
        let (first, second): (Vec<_>, Vec<_>) = ((10..60).collect(), (100..140).collect());
        assert_eq!(read(&mut many, &first), 50);
        assert_eq!(read(&mut many, &second), 40, "in another sequence");
        // Both are still there; the last token has to put out its row.
        assert_eq!(read(&mut many, &first), 1);
        assert_eq!(read(&mut many, &[&second[..], &[1, 2, 3]].concat()), 3);
        assert_eq!(read(&mut many, &[&first[..20], &[7]].concat()), 1);
        // Where it costs nothing, the longer text was left as it is.
        assert_eq!(read(&mut many, &first), if shares { 1 } else { 30 });
    }
}

#[test]
fn views_of_a_request_are_its_own() {
    let negative = View { prompt: Some("The meeting of the committee was".to_owned()), ..View::default() };
    let view = View { prompt: Some(String::new()), ..View::default() };
    let guided = |view: View| {
        let pair = (1.0, Some(SidePlan::base()), Some(SidePlan::base().seen_as(view)));
        with_context(plan("base", &[pair]), &invariant())
    };
    let asked = Request {
        views: vec![(Role::Antiexpert(0), negative.clone())],
        input: Request::prompt(PROMPT).input,
        ..greedy(16)
    };
    let mut planned = engine(&guided(negative), Texts::ONE, slots(1));
    let expected = alone(&mut planned, &Request { views: Vec::new(), ..asked.clone() });
    let mut many = engine(&guided(view), Texts::apart(2), slots(2));
    let other = Request { views: Vec::new(), ..asked.clone() };
    let answers = together(&mut many, &[(asked.clone(), 0, None), (other, 0, None)], |_| {});
    assert_eq!(parts(&answers[0]), parts(&expected));
    assert_ne!(answers[1].tokens, expected.tokens);
    // A role that computes what another does cannot be shown anything else.
    let shared = Request { views: vec![(Role::Expert(0), View::default())], ..asked };
    let failure = many.submit(&shared).expect_err("refused");
    assert_eq!(failure.kind, Kind::Request);
    assert!(failure.message.contains("the expert computes what the base does"), "{failure}");
}

#[test]
fn requests_and_events_survive_as_json() {
    let request = Request { n_probs: Some(2), ..Request { input: Request::prompt(PROMPT).input, ..greedy(4) } };
    let sampling =
        Sampling { logit_bias: vec![(7, f32::NEG_INFINITY), (9, 0.1)], plausibility: 0.9, ..Sampling::greedy() };
    let weights = WeightsRequest { pairs: [("1".to_owned(), Schedule::constant(0.5))].into(), ..trio::alphas(&[0.7]) };
    let pieces =
        vec![Piece::Raw("Once ".to_owned()), Piece::Tokens(vec![20, 30]), Piece::Content("<|eos|>".to_owned())];
    let request = Request { input: Input::Raw(pieces), prompt_probs: Some(1), sampling, weights, ..request };
    let json = serde_json::to_string(&request).expect("JSON");
    assert!(json.contains("[[7,false],[9,0.1]]"), "{json}");
    let back: Request = serde_json::from_str(&json).expect("a request");
    assert_eq!(back, request);
    let mut many = engine(&with_context(demo(1.0), &invariant()), Texts::ONE, slots(1));
    many.submit(&back).expect("it is taken in");
    let mut events = Vec::new();
    while many.tick(&mut |_, event| events.push(event)) {}
    assert!(events.len() > 5 && events.iter().any(|event| matches!(event, Event::Prompt(_))));
    for event in &events {
        let json = serde_json::to_string(event).expect("JSON");
        let back: Event = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(&back, event);
    }
    assert!(serde_json::from_str::<Request>(r#"{"n_predikt": 3}"#).is_err(), "typing errors are told");
}

#[test]
fn a_full_queue_refuses_and_bad_requests_never_get_into_it() {
    let settings = Settings { n_queue: 2, ..slots(1) };
    let mut many = engine(&with_context(demo(1.0), &invariant()), Texts::ONE, settings);
    let good = Request { input: Request::prompt(PROMPT).input, ..greedy(4) };
    let named = |name: &str, alpha: f32| WeightsRequest {
        pairs: [(name.to_owned(), Schedule::constant(alpha))].into(),
        ..WeightsRequest::default()
    };
    let seen = |view: View| vec![(Role::Expert(0), view)];
    for bad in [
        Request { sampling: Sampling { temp: f32::NAN, ..Sampling::default() }, ..good.clone() },
        Request { sampled: Sampled::Alone(Role::Expert(3)), ..good.clone() },
        Request { weights: trio::alphas(&[1.0, 2.0]), ..good.clone() },
        Request { weights: trio::alphas(&[f32::NAN]), ..good.clone() },
        Request { weights: named("2", 1.0), ..good.clone() },
        Request { weights: named("1", f32::NAN), ..good.clone() },
        Request {
            views: seen(View { system: Some(String::new()), ..View::default() }),
            ..Request { input: Input::text("a"), ..good.clone() }
        },
        Request { views: seen(View::default()), ..Request { input: Input::Tokens(vec![20]), ..good.clone() } },
        Request { input: Input::Raw(vec![Piece::Tokens(vec![1 << 30])]), ..good.clone() },
        Request {
            input: Input::Raw(vec![Piece::Tokens(vec![-1])]),
            sampled: Sampled::Alone(Role::Base),
            ..good.clone()
        },
        Request { draft: Draft::fixed(usize::MAX, Drafter::Expert), ..good.clone() },
        Request { draft: Draft { min_p: f32::NAN, ..Draft::default() }, ..good.clone() },
        Request { input: Input::Tokens(vec![1 << 30]), ..good.clone() },
        Request { input: Input::Tokens(vec![-1]), ..good.clone() },
        Request { input: Input::Tokens(vec![-1]), sampled: Sampled::Alone(Role::Base), ..good.clone() },
    ] {
        let failure = many.submit(&bad).expect_err("refused");
        assert!(matches!(failure.kind, Kind::Request | Kind::Prompt), "{failure:?}");
    }
    let long = Request { input: Input::Tokens(vec![5; 256]), ..good.clone() };
    assert_eq!(many.submit(&long).expect_err("refused").kind, Kind::ContextLength);
    let mut n_taken = 0;
    while many.submit(&good).is_ok() {
        n_taken += 1;
    }
    assert_eq!(n_taken, 3, "two that wait, and one that gets the slot at once");
    assert_eq!(many.submit(&good).expect_err("refused").kind, Kind::Busy);
    let mut n_done = 0;
    while many.tick(&mut |_, event| n_done += usize::from(matches!(event, Event::Done(_)))) {}
    assert_eq!(n_done, n_taken);
    assert!(many.submit(&good).is_ok(), "there is room again");
}

pub fn unending() -> Sampling {
    Sampling { ignore_eos: true, ..Sampling::greedy() }
}

pub fn greedy_of(prompt: &str) -> Request {
    Request { input: Request::prompt(prompt).input, ..greedy(1) }
}

#[test]
fn several_ensembles_share_models_in_one_engine() {
    let plan = with_context(demo(1.0), &invariant());
    let mut models = Models::default();
    let mut load_shared = |plan: &Plan| trio::load_with(plan, &mut models).expect("it loads").engine;
    let mut many = load_shared(&plan);
    let other = with_context(plan_of_expert(), &invariant());
    let second = Ensemble::load(&backend(), &other, &mut models, &mut |_, _, _| true).expect("it loads");
    assert_eq!(models.n_loaded(), 3, "nothing is loaded twice");
    assert_eq!(many.add(second), 1);
    let request = greedy_of(PROMPT);
    let request = Request { n_predict: Some(12), ..request };
    let ids = [many.submit_to(0, &request), many.submit_to(1, &request)].map(|id| id.expect("it is taken in"));
    let mut answers = BTreeMap::from(ids.map(|id| (id, Answer::default())));
    while many.tick(&mut |id, event| drop(answers.get_mut(&id).map(|answer| answer.add(event)))) {}
    let expected =
        trio::generate(&mut load(&with_context(demo(1.0), &invariant())).expect("it loads"), PROMPT, &greedy(12));
    assert_eq!(answers[&ids[0]].tokens, expected.expect("it generates").tokens);
    let expected = trio::generate(&mut load(&other).expect("it loads"), PROMPT, &greedy(12));
    assert_eq!(answers[&ids[1]].tokens, expected.expect("it generates").tokens);
    assert_eq!(many.submit_to(2, &request).expect_err("there is none").kind, Kind::Request);
}

fn plan_of_expert() -> Plan {
    plan("expert", &[])
}
