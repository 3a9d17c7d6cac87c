//! Texts that are steered otherwise while they are written: each is, token by token, what it is under the schedule that this
//! comes to.

use std::collections::BTreeMap;

use proxytune::engine::{Engine, Id};
use proxytune::generate::draft::Drafter;
use proxytune::generate::event::{Kind, Steered};
use proxytune::generate::{Answer, Draft, Event, Request};
use proxytune::recipe::Schedule;
use proxytune::sampling::Sampling;
use proxytune::steer::{Role, Sampled, SidePlan, Texts, WeightsRequest};

use crate::engine::{PROMPTS, alone, engine, invariant, parts, slots, with_context};
use crate::trio::{PROMPT, alphas, demo, file, model, plan};

fn schedule(text: &str) -> Schedule {
    text.parse().expect(text)
}

fn weights(alpha: &[&str]) -> WeightsRequest {
    WeightsRequest { alpha: alpha.iter().map(|text| schedule(text)).collect(), ..WeightsRequest::default() }
}

/// What is told of a text.
#[derive(Default)]
struct Told {
    answer: Answer,
    /// With the number of tokens that were told before.
    steered: Vec<(usize, Steered)>,
}

/// Runs what an engine has to its end. `between` is called between ticks with the number of tokens of each text so far.
fn run(engine: &mut Engine, mut between: impl FnMut(&mut Engine, &BTreeMap<Id, usize>)) -> BTreeMap<Id, Told> {
    let mut told: BTreeMap<Id, Told> = BTreeMap::new();
    loop {
        let n_tokens = told.iter().map(|(id, told)| (*id, told.answer.tokens.len())).collect();
        between(engine, &n_tokens);
        let goes_on = engine.tick(&mut |id, event| {
            let Told { answer, steered } = told.entry(id).or_default();
            if let Event::Steered(event) = &event {
                steered.push((answer.tokens.len(), event.clone()));
            }
            answer.add(event);
        });
        if !goes_on {
            return told;
        }
    }
}

/// Runs a request that is steered so as soon as it has so many tokens.
fn steered(engine: &mut Engine, request: &Request, changes: &[(usize, WeightsRequest)]) -> Told {
    engine.forget();
    let id = engine.submit(request).expect("it is taken in");
    let mut left = changes.iter().peekable();
    let mut told = run(engine, |engine, n_tokens| {
        while let Some((_, asked)) = left.next_if(|(n, _)| n_tokens.get(&id).is_some_and(|of| of >= n)) {
            engine.steer(id, asked);
        }
    });
    assert!(left.peek().is_none(), "it ended before");
    told.remove(&id).expect("its events")
}

/// The schedule of each pair that changes come to.
fn joined(first: &[&str], steered: &[(usize, Steered)]) -> WeightsRequest {
    let of_pair = |(i, alpha): (usize, &&str)| {
        let later = steered.iter().map(|(_, Steered { position, alpha })| format!(",{}@{position}", alpha[i]));
        schedule(&format!("{alpha}@0{}", later.collect::<String>()))
    };
    WeightsRequest { alpha: first.iter().enumerate().map(of_pair).collect(), ..WeightsRequest::default() }
}

fn samplings() -> [Sampling; 3] {
    let seeded = |seed| Sampling { seed: Some(seed), ignore_eos: true, ..Sampling::default() };
    [
        Sampling { ignore_eos: true, ..Sampling::greedy() },
        seeded(4),
        Sampling { repeat_penalty: 1.3, repeat_last_n: -1, ..seeded(5) },
    ]
}

fn drafts() -> [Draft; 4] {
    [Draft::off(), Draft::default(), Draft::fixed(5, Drafter::Expert), Draft::fixed(4, Drafter::Lookup)]
}

#[test]
fn a_text_is_that_of_the_schedule_it_comes_to() {
    let mut engine = engine(&with_context(demo(1.0), &invariant()), Texts::ONE, slots(1));
    // Behind 40 tokens a pair that rested reads what it missed in several steps.
    let cases: [(&str, &[(usize, &str)]); 4] = [
        ("1", &[(10, "0.25")]),
        ("0", &[(40, "1")]),
        ("1", &[(3, "0"), (45, "1")]),
        ("1", &[(5, "0"), (5, "2"), (20, "0.1")]),
    ];
    for (sampling, draft) in samplings().into_iter().flat_map(|one| drafts().map(|draft| (one.clone(), draft))) {
        for (first, changes) in cases {
            for n_probs in [None, Some(1)] {
                let (sampling, draft) = (sampling.clone(), draft.clone());
                let (weights, n_predict) = (weights(&[first]), Some(64));
                let request = Request { sampling, draft, weights, n_predict, n_probs, ..Request::prompt(PROMPT) };
                let changes: Vec<_> = changes.iter().map(|(n, alpha)| (*n, self::weights(&[alpha]))).collect();
                let told = steered(&mut engine, &request, &changes);
                assert_eq!(told.answer.failure, None);
                assert!(told.steered.iter().all(|(n, event)| *n == event.position), "{:?}", told.steered);
                let last = changes.last().expect("a change");
                let (position, alpha) = told.steered.last().map(|(n, event)| (*n, &event.alpha)).expect("it is told");
                assert!(position >= last.0 && *alpha == last.1.alpha, "{:?}", told.steered);
                let expected = alone(&mut engine, &Request { weights: joined(&[first], &told.steered), ..request });
                assert_eq!(parts(&told.answer), parts(&expected), "{first}, {changes:?}");
            }
        }
    }
}

/// A ramp counts from the beginning of the answer, and what is not asked for stays as it is.
#[test]
fn pairs_change_one_by_one_and_along_the_text() {
    let pair = |side: Option<SidePlan>| (1.0, side, model(file("antiexpert")));
    let plan = plan("base", &[pair(model(file("expert"))), pair(model(file("expert-inside")))]);
    let mut engine = engine(&with_context(plan, &invariant()), Texts::ONE, slots(1));
    let of = |name: &str, alpha: &str| WeightsRequest {
        pairs: [(name.to_owned(), schedule(alpha))].into(),
        ..WeightsRequest::default()
    };
    let request = |draft: Draft, alpha: WeightsRequest| Request {
        weights: alpha,
        draft,
        n_predict: Some(90),
        sampling: Sampling { ignore_eos: true, ..Sampling::greedy() },
        ..Request::prompt(PROMPT)
    };
    for draft in [Draft::off(), Draft::default()] {
        // The second change comes while the first pair reads what it missed.
        let changes = [(50, of("1", "1")), (50, of("2", "0.5"))];
        let request_of = |weights| request(draft.clone(), weights);
        engine.forget();
        let id = engine.submit(&request_of(weights(&["0", "0"]))).expect("it is taken in");
        let mut n_changed = 0;
        let mut told = run(&mut engine, |engine, n_tokens| {
            if n_changed < 2 && n_tokens.get(&id).is_some_and(|n| *n >= changes[n_changed].0) {
                engine.steer(id, &changes[n_changed].1);
                n_changed += 1;
            }
        });
        let told = told.remove(&id).expect("its events");
        assert_eq!(told.answer.failure, None);
        let [(_, both)] = &told.steered[..] else { panic!("no token came between: {:?}", told.steered) };
        assert_eq!(both.alpha, [schedule("1"), schedule("0.5")]);
        let expected = alone(&mut engine, &request_of(joined(&["0", "0"], &told.steered)));
        assert_eq!(parts(&told.answer), parts(&expected));

        let ramp = "2@0..0@60";
        let told = steered(&mut engine, &request_of(weights(&["1", "0.5"])), &[(12, of("2", ramp))]);
        let [(n, event)] = &told.steered[..] else { panic!("{:?}", told.steered) };
        assert_eq!(event.alpha, [schedule("1"), schedule(ramp)], "along the whole answer");
        let now = schedule(ramp).at(*n);
        let alpha = vec![schedule("1"), schedule(&format!("0.5@0,{now}@{n}..0@60"))];
        let expected = alone(&mut engine, &request_of(WeightsRequest { alpha, ..WeightsRequest::default() }));
        assert_eq!(told.answer.tokens, expected.tokens);
    }
}

#[test]
fn a_text_that_waits_or_reads_begins_under_the_new_weights() {
    let mut engine = engine(&with_context(demo(1.0), &invariant()), Texts::ONE, slots(1));
    for prompt_probs in [None, Some(1)] {
        let request = |alpha: f32| Request { weights: alphas(&[alpha]), prompt_probs, ..greedy() };
        let [old, new] = [1.0, 0.0].map(|alpha| alone(&mut engine, &request(alpha)));
        assert_ne!(old.tokens, new.tokens);
        // Before its first tick, behind that, and in the middle of the prompt.
        for n_ticks in 0..3 {
            engine.forget();
            let id = engine.submit(&request(1.0)).expect("it is taken in");
            let mut n = 0;
            let mut told = run(&mut engine, |engine, n_tokens| {
                if n == n_ticks {
                    assert_eq!(n_tokens.get(&id).copied().unwrap_or(0), 0, "it still reads");
                    engine.steer(id, &alphas(&[0.0]));
                }
                n += 1;
            });
            let told = told.remove(&id).expect("its events");
            assert_eq!(told.steered, [(0, Steered { position: 0, alpha: vec![Schedule::constant(0.0)] })]);
            assert_eq!(told.answer.tokens, new.tokens);
            if n_ticks > 0 {
                assert_eq!(told.answer.prompt_positions, old.prompt_positions, "as it was begun");
            }
        }
    }
}

fn greedy() -> Request {
    let sampling = Sampling { ignore_eos: true, ..Sampling::greedy() };
    // It is read in several ticks.
    Request { sampling, n_predict: Some(24), ..Request::prompt(PROMPTS[4].repeat(3)) }
}

/// One that cannot be steered so ends by itself, with an error.
#[test]
fn what_cannot_be_is_told_and_the_neighbours_do_not_notice() {
    let mut engine = engine(&with_context(demo(1.0), &invariant()), Texts::apart(3), slots(3));
    let expected = alone(&mut engine, &greedy());
    let named = [("up".to_owned(), Schedule::constant(1.0))].into();
    let base = Request { sampled: Sampled::Alone(Role::Base), ..greedy() };
    for (request, asked, words) in [
        (base, alphas(&[1.0]), "nothing to steer"),
        (greedy(), alphas(&[1.0, 2.0]), "2 values"),
        (greedy(), alphas(&[f32::NAN]), "alpha is NaN"),
        (greedy(), WeightsRequest { pairs: named, ..WeightsRequest::default() }, "\"up\""),
    ] {
        engine.forget();
        let [one, bad, other] = [&greedy(), &request, &greedy()].map(|one| engine.submit(one).expect("it is taken in"));
        let told = run(&mut engine, |engine, n_tokens| {
            if n_tokens.get(&bad).is_some_and(|n| *n >= 5) {
                engine.steer(bad, &asked);
            }
        });
        let failure = told[&bad].answer.failure.as_ref().expect("an error");
        assert!(failure.kind == Kind::Request && failure.message.contains(words), "{failure}");
        for id in [one, other] {
            assert_eq!(parts(&told[&id].answer), parts(&expected));
        }
    }
    // Whoever has ended hears nothing.
    engine.steer(0, &alphas(&[1.0]));
    assert!(!engine.tick(&mut |_, event| panic!("{event:?}")));
}
