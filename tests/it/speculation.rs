//! Drafted tokens change nothing but the pace: on contexts whose rows do not depend on how tokens are batched, texts
//! are the same to the last bit of the last log-probability.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use proxytune::generate::draft::{Confidence, Drafter, Length, MAX_STEP, Stats};
use proxytune::generate::probs::Position;
use proxytune::generate::{self, Draft, Event, Finish, Input, Request};
use proxytune::gguf::Header;
use proxytune::llama::Token;
use proxytune::llama::context::{ContextParams, FlashAttention};
use proxytune::llama::draft_chain::Draw;
use proxytune::llama::kernels::Kernels;
use proxytune::recipe::Recipe;
use proxytune::recipe::placement::CacheType;
use proxytune::sampling::Sampling;
use proxytune::steer::{Plan, Sampled};

use crate::gguf::{Kind, Spec};
use crate::trio::{self, PROMPT, Steered, backend, demo, file, load, model, plan};

/// Rows that do not depend on how tokens are batched (with the bundled Q8_0 weights), and room for the longest step.
fn invariant() -> ContextParams {
    ContextParams {
        n_outputs_max: MAX_STEP,
        flash_attention: FlashAttention::On,
        cache_type_k: CacheType::Q8_0,
        cache_type_v: CacheType::Q8_0,
        ..trio::source("").context
    }
}

fn ready(mut plan: Plan) -> Steered {
    plan.contexts_mut().for_each(|context| *context = invariant());
    load(&plan).expect("the plan loads")
}

#[derive(Debug, PartialEq)]
struct Answer {
    tokens: Vec<Token>,
    text: String,
    positions: Vec<Position>,
    finish: Option<Finish>,
}

fn generate(steered: &mut Steered, prompt: &str, request: &Request) -> (Answer, Stats) {
    steered.engine.forget();
    let answer = steered.run(&Request { input: Request::prompt(prompt).input, ..request.clone() });
    assert_eq!(answer.failure, None);
    let generate::Answer { tokens, text, positions, finish, stats, .. } = answer;
    (Answer { tokens, text, positions, finish }, stats)
}

#[test]
fn tokens_tell_their_place_in_the_step() {
    let mut steered = ready(demo(0.5));
    let mut places = Vec::new();
    let mut answer = generate::Answer::default();
    let request = Request { input: Request::prompt(PROMPT).input, ..greedy(40, Draft::fixed(4, Drafter::Expert)) };
    let run = steered.engine.run(&request, &AtomicBool::new(false), &mut answer, |event, _| {
        if let Event::Token(token) = event {
            places.push(token.place);
        }
        Ok(())
    });
    run.expect("it runs");
    let n_first = places.iter().filter(|&&place| place == 0).count();
    assert_eq!(n_first, 1 + answer.stats.n_steps(), "the end of the prompt brings one, and so does every step");
    assert!(n_first < places.len(), "some drafts were accepted: {places:?}");
    assert!(places.windows(2).all(|two| two[1] == 0 || two[1] == two[0] + 1), "{places:?}");
}

fn in_lockstep(request: &Request) -> Request {
    Request { draft: Draft::off(), ..request.clone() }
}

fn greedy(n_predict: usize, draft: Draft) -> Request {
    Request { draft, ..trio::greedy(n_predict) }
}

/// Texts that go on in different ways: stories, prose, something that repeats itself, a single word.
const PROMPTS: [&str; 6] = [
    PROMPT,
    "The dog was",
    "In the morning the old man",
    "The cat sat on the mat. The dog sat on the mat. The cat sat on the",
    "He said:",
    "One two three one two three one two",
];

/// A document in which much is forced, much is free, and some of either is long.
const SCHEMA: &str = r#"{"type": "object", "properties": {"a_kind_of_animal": {"enum": ["dog", "cat", "caterpillar"]},
    "name": {"type": "string"}, "is_it_small": {"type": "boolean"}, "what_it_did": {"type": "array", "minItems": 2, "maxItems": 4,
    "items": {"type": "object", "properties": {"first": {"type": "string"}, "then": {"type": "string"}}, "required": ["first", "then"]}}},
    "required": ["a_kind_of_animal", "name", "is_it_small", "what_it_did"]}"#;

/// Chains of all kinds, each with a seed.
pub fn sampling() -> impl Strategy<Value = Sampling> {
    let chain = prop_oneof![
        3 => Just(Sampling::greedy()),
        3 => Just(Sampling::default()),
        1 => Just(Sampling { temp: 1.3, top_k: 0, min_p: 0.0, ..Sampling::default() }),
        1 => Just(Sampling { repeat_penalty: 1.3, presence_penalty: 0.2, repeat_last_n: 16, ..Sampling::greedy() }),
        1 => Just(Sampling { dry_multiplier: 0.8, xtc_probability: 0.5, ..Sampling::default() }),
        1 => Just(Sampling { mirostat: 1, ..Sampling::default() }),
        1 => Just(Sampling { mirostat: 2, ..Sampling::default() }),
        1 => Just(Sampling { grammar: Some(r#"root ::= ([a-z]+ [ ,])+ "." "#.to_owned()), ..Sampling::default() }),
        1 => Just(Sampling { json_schema: Some(SCHEMA.to_owned()), ..Sampling::default() }),
        1 => Just(Sampling { json_schema: Some(SCHEMA.to_owned()), ..Sampling::greedy() }),
        1 => Just(Sampling { regex: Some(r#"(["“]?[A-Z][a-z]+( [a-z]+){2,20}[.!?]["”]?\n?)+"#.to_owned()), ..Sampling::default() }),
        1 => Just(Sampling { plausibility: 0.1, typical_p: 0.9, top_n_sigma: 1.5, ..Sampling::default() }),
        1 => Just(Sampling { samplers: "top_k;proxy;temperature".parse().expect("names"), ..Sampling::default() }),
        1 => Just(Sampling { samplers: "top_k;temperature;gumbel".parse().expect("names"), ..Sampling::default() }),
        1 => Just(Sampling { adaptive_target: 0.4, samplers: "proxy;adaptive_p".parse().expect("names"),
                             ..Sampling::default() }),
    ];
    (chain, any::<u16>()).prop_map(|(chain, seed)| Sampling { seed: Some(seed.into()), ..chain })
}

fn draft() -> impl Strategy<Value = Draft> {
    let length = prop_oneof![1 => Just(Length::Auto), 3 => (1..MAX_STEP).prop_map(Length::Fixed)];
    let drafters = prop::sample::select(vec![
        vec![Drafter::Expert],
        vec![Drafter::Base],
        vec![Drafter::Lookup],
        vec![Drafter::Lookup, Drafter::Expert],
    ]);
    let min_p = prop_oneof![Just(0.0), Just(0.5)];
    (length, min_p, drafters).prop_map(|(length, min_p, drafters)| Draft { length, min_p, drafters })
}

/// Runs each case in lockstep once, with each of its drafts and with some whose lengths a clock decides, on one steered
/// model.
fn same_in_all(steered: &mut Steered, n_cases: u32) -> Stats {
    let seen = RefCell::new(Stats::default());
    let steered = RefCell::new(steered);
    let stop = prop::sample::select(vec![None, None, Some(" was"), Some(".\n"), Some("the")]);
    let cases = (prop::sample::select(&PROMPTS[..]), sampling(), prop::collection::vec(draft(), 4), 1..14_usize, stop);
    let config = Config { failure_persistence: None, ..Config::with_cases(n_cases) };
    let run = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    )
    .run(&cases, |(prompt, sampling, drafts, n_predict, stop)| {
        let mut steered = steered.borrow_mut();
        let stop = stop.into_iter().map(str::to_owned).collect();
        let (n_predict, n_probs) = (Some(n_predict), Some(0));
        let request = Request { sampling, n_predict, stop, n_probs, ..Request::default() };
        let (expected, _) = generate(&mut steered, prompt, &in_lockstep(&request));
        let timed = Draft { length: Length::Timed, ..Draft::default() };
        for draft in drafts.into_iter().chain([timed]) {
            let (answer, stats) = generate(&mut steered, prompt, &Request { draft, ..request.clone() });
            prop_assert_eq!(&answer, &expected);
            seen.borrow_mut().add(&stats);
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    seen.into_inner()
}

/// Two thousand short texts, against five hundred in lockstep.
#[test]
fn thousands_of_texts_are_those_of_lockstep() {
    let stats = same_in_all(&mut ready(demo(1.0)), 500);
    let (drafts, by_lookup) = (stats.all(), stats.by_lookup);
    assert!(drafts.n_accept > 1000 && drafts.n_accept < drafts.n_drafted, "{stats:?}");
    assert!(by_lookup.n_accept > 10, "{stats:?}");
}

/// With a cache in F16, the default, and K-quants: what llama.cpp's kernels round otherwise for several tokens.
#[test]
fn thousands_of_texts_on_our_kernels_are_those_of_lockstep() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, kind, seed| {
        let spec = Spec { kind, seed, n_embd: 256, n_ff: 512, ..Spec::tiny() };
        let path = folder.path().join(name);
        spec.write(&path).expect("writable");
        let kernels = Kernels::Auto.isa(&Header::read(&path).expect("a header"));
        (model(path), kernels.is_some())
    };
    let (base, ours) = write("base", Kind::Q4K, 1);
    if !ours {
        return;
    }
    let [expert, antiexpert] =
        [("expert", Kind::Q6K, 1), ("antiexpert", Kind::Q5_0, 2)].map(|(a, b, c)| write(a, b, c).0);
    let base = base.and_then(|side| side.source).expect("a file");
    let pairs = plan("base", &[(0.3, expert, antiexpert)]).pairs;
    for mut plan in [demo(1.0), Plan { pairs, ..Plan::alone(base) }] {
        plan.contexts_mut().for_each(|context| context.n_outputs_max = MAX_STEP);
        let stats = same_in_all(&mut load(&plan).expect("it loads"), 250);
        assert!(stats.all().n_accept > 100 && stats.all().n_accept < stats.all().n_drafted, "{stats:?}");
    }
}

/// Every bundled recipe: several pairs, missing sides, the base as a side, one model under two prompts, an adapter.
#[test]
fn every_arrangement_is_the_same_with_drafts() {
    let folder = file("base");
    let folder = folder.parent().expect("a folder");
    let recipes = std::fs::read_dir(folder).expect("the demo").map(|entry| entry.expect("an entry").path());
    for path in recipes.filter(|path| path.extension().is_some_and(|end| end == "toml")) {
        let recipe = Recipe::open(path.to_str().expect("UTF-8")).expect("a recipe");
        let plan = Plan::of_recipe(&recipe, &trio::source(""), &backend()).expect("a plan");
        let stats = same_in_all(&mut ready(plan), 10);
        assert!(stats.all().n_accept > 0, "{}: {stats:?}", path.display());
    }
}

#[test]
fn the_base_alone_looks_up_what_it_wrote() {
    let mut base = ready(plan("base", &[]));
    let draft = Draft::fixed(7, Drafter::Lookup);
    let request = greedy(60, draft);
    let (answer, stats) = generate(&mut base, PROMPTS[1], &request);
    assert_eq!(answer, generate(&mut base, PROMPTS[1], &in_lockstep(&request)).0);
    assert!(stats.by_lookup.n_accept > 10, "its greedy text runs in a circle: {stats:?}");
}

/// What is reported of a position is of its own rows, those of drafts included.
#[test]
fn log_probabilities_are_those_of_lockstep() {
    let mut steered = ready(demo(1.0));
    for drafter in [Drafter::Expert, Drafter::Base, Drafter::Lookup] {
        let request = Request { n_probs: Some(4), ..greedy(40, Draft::fixed(5, drafter)) };
        let (answer, stats) = generate(&mut steered, PROMPT, &request);
        assert!(stats.all().n_drafted > 0, "{drafter:?}");
        assert_eq!(answer.positions.len(), 40);
        assert_eq!(answer, generate(&mut steered, PROMPT, &in_lockstep(&request)).0, "{drafter:?}");
    }
}

#[test]
fn ends_are_where_they_are_in_lockstep() {
    let mut steered = ready(demo(1.0));
    let fixed = || Draft::fixed(6, Drafter::Expert);
    let (long, _) = generate(&mut steered, PROMPT, &in_lockstep(&greedy(60, fixed())));
    // A stop text within drafts, a number of tokens that is no multiple of a step, the context's end.
    let words: Vec<_> = long.text.split_whitespace().collect();
    for stop in [words[3], words[7], &long.text[20..26]] {
        let request = Request { stop: vec![stop.to_owned()], ..greedy(60, fixed()) };
        let (answer, _) = generate(&mut steered, PROMPT, &request);
        assert_eq!(answer.finish, Some(Finish::Stop), "{stop:?}");
        assert_eq!(answer, generate(&mut steered, PROMPT, &in_lockstep(&request)).0, "{stop:?}");
    }
    for n_predict in 1..9 {
        let request = greedy(n_predict, fixed());
        assert_eq!(generate(&mut steered, PROMPT, &request).0.tokens, long.tokens[..n_predict]);
    }
    let unending = Sampling { ignore_eos: true, ..Sampling::greedy() };
    let request = Request { sampling: unending, draft: fixed(), ..Request::default() };
    let (full, _) = generate(&mut steered, PROMPT, &request);
    assert_eq!(full.finish, Some(Finish::Length));
    assert_eq!(full, generate(&mut steered, PROMPT, &in_lockstep(&request)).0);
}

/// Behind a text with drafts the lanes hold what they were told and nothing else.
#[test]
fn lanes_hold_what_was_chosen() {
    let mut steered = ready(demo(1.0));
    let prompts = steered.tokenize(PROMPT).expect("tokens");
    for draft in [Draft::off(), Draft::fixed(5, Drafter::Expert), Draft::fixed(5, Drafter::Lookup)] {
        let (answer, _) = generate(&mut steered, PROMPT, &greedy(21, draft));
        // What follows is read from there: the last token, which nothing followed, and one more.
        let held = [prompts.sampled(), &answer.tokens, &[5]].concat();
        let n = held.len();
        let follows = Request { input: Input::Tokens(held), n_predict: Some(1), ..trio::greedy(1) };
        let started = steered.run(&follows).started;
        assert_eq!((started.n_prompt, started.n_cached), (3 * n, 3 * (n - 2)));
    }
}

#[test]
fn drafts_are_taken_back_one_lane_at_a_time_or_all() {
    let mut steered = ready(demo(1.0));
    let prompts = steered.tokenize(PROMPT).expect("tokens");
    let tokens = steered.model().tokenize(" She had a small dog").expect("tokens");
    steered.read(&prompts).expect("it decodes");
    let mut expected = Vec::new();
    for (i, &token) in tokens[..4].iter().enumerate() {
        steered.decode(&[token]).expect("it fits");
        expected.push(steered.composed(i + 1, 0.0).expect("a row"));
    }
    let (ensemble, sequence) = steered.by_hand();
    ensemble.keep(sequence, 0);
    steered.read(&prompts).expect("it decodes");

    let expert = steered.ensemble().expert().expect("an expert");
    steered.ahead(expert, tokens[3]).expect("it fits");
    steered.ahead(expert, tokens[2]).expect("it fits");
    let (ensemble, sequence) = steered.by_hand();
    ensemble.keep(sequence, 0);
    steered.ahead(expert, tokens[0]).expect("it fits");
    steered.decode(&tokens[1..3]).expect("they fit");
    for (i, expected) in expected[..3].iter().enumerate() {
        assert_eq!(&steered.composed(i + 1, 0.0).expect("a row"), expected);
    }
    let (ensemble, sequence) = steered.by_hand();
    ensemble.keep(sequence, 2);
    assert!(steered.composed(1, 0.0).is_err(), "rows are gone with what was taken back");
    steered.decode(&tokens[2..4]).expect("they fit");
    assert_eq!([3, 4].map(|i| steered.composed(i, 0.0).expect("a row")), expected[2..4]);
}

#[test]
fn what_drafts_taught_serves_the_next_text() {
    let mut steered = ready(demo(1.0));
    let unseen =
        |steered: &Steered, draw| steered.engine.policy(Sampled::Steered).expect("there is one").chances(draw).unseen();
    let before = unseen(&steered, Draw::Likeliest);
    generate(&mut steered, PROMPT, &greedy(48, Draft::default()));
    let after = unseen(&steered, Draw::Likeliest);
    assert_ne!(before, after, "48 tokens teach something");
    generate(&mut steered, PROMPT, &greedy(2, Draft::default()));
    assert_eq!(unseen(&steered, Draw::Likeliest), after, "the next text, too short for a draft, began with it");
    assert_eq!(unseen(&steered, Draw::Alike), before, "draws are learnt by themselves");
}

/// What a text repeats is compared with what comes, taken or not: else nothing would ever tell that it has become worth it.
#[test]
fn drafts_that_were_declined_are_learnt_from() {
    let mut base = ready(plan("base", &[]));
    let confidence = Confidence::Match(usize::MAX);
    let policy = base.engine.policy_mut(Sampled::Steered).expect("there is one");
    (0..200).for_each(|_| policy.chances_mut(Draw::Likeliest).learn(confidence, false));
    let before = policy.chance(Draw::Likeliest, confidence);
    let (_, stats) = generate(&mut base, PROMPTS[1], &greedy(120, Draft::default()));
    let after = base.engine.policy(Sampled::Steered).expect("there is one").chance(Draw::Likeliest, confidence);
    assert!(before < 0.05 && after > before + 0.1, "{before}, then {after}: {stats:?}");
}

/// A context that has room for one row only drafts nothing, and says so.
#[test]
fn without_room_for_rows_nothing_is_drafted() {
    let mut plan = demo(1.0);
    plan.contexts_mut().for_each(|context| context.n_outputs_max = 1);
    let mut steered = load(&plan).expect("the trio loads");
    for draft in [Draft::default(), Draft::fixed(4, Drafter::Expert)] {
        let input = Request::prompt(PROMPT).input;
        let answer = steered.run(&Request { input, ..greedy(8, draft) });
        assert_eq!((answer.stats.all().n_drafted, answer.stats.n_steps()), (0, 7));
        assert!(answer.started.notes.iter().any(|note| note.contains("n_outputs_max")), "{:?}", answer.started.notes);
    }
}

/// Between a tick and the next the generation hears that it is to end.
#[test]
fn a_cancelled_generation_ends_with_what_was_given_out() {
    let mut steered = ready(demo(1.0));
    let (expected, _) = generate(&mut steered, PROMPT, &greedy(30, Draft::off()));
    let cancel = AtomicBool::new(false);
    let request = greedy(30, Draft::fixed(6, Drafter::Expert));
    let (mut answer, mut n_tokens) = (generate::Answer::default(), 0);
    let asked = Request { input: Request::prompt(PROMPT).input, ..request.clone() };
    let show = |event: &Event, _: &str| {
        n_tokens += usize::from(matches!(event, Event::Token(_)));
        cancel.store(n_tokens >= 8, Ordering::Relaxed);
        Ok(())
    };
    steered.engine.run(&asked, &cancel, &mut answer, show).expect("nothing is written");
    let n = answer.tokens.len();
    assert!((8..8 + 6).contains(&n), "{n}");
    assert_eq!((answer.finish, answer.tokens.as_slice()), (Some(Finish::Cancelled), &expected.tokens[..n]));
    assert_eq!(generate(&mut steered, PROMPT, &request).0, expected, "and the lanes are fit for another");
}

/// A recurrent state cannot be taken back: where a role has one, tokens are decoded one by one.
#[test]
fn beside_a_recurrent_model_nothing_is_drafted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut steered = ready(trio::with_recurrent_pair(folder.path()));
    assert!(!steered.ensemble().can_roll_back());
    let (answer, stats) = generate(&mut steered, "abc abc abc", &greedy(12, Draft::fixed(4, Drafter::Expert)));
    assert_eq!((answer.tokens.len(), stats.all().n_drafted, stats.n_steps()), (12, 0, 11));
}
