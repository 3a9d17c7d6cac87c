//! Pairs that have no say for a while: their models rest, and the text stays what it is.

use proxytune::generate::draft::{Draft, Drafter};
use proxytune::generate::{Input, Request};
use proxytune::prompt::Conversation;
use proxytune::recipe::Schedule;
use proxytune::sampling::Sampling;
use proxytune::steer::{Role, SidePlan, WeightsRequest};

use crate::trio::{PROMPT, demo, file, greedy, load, model, plan};

/// While a pair's weights are 0 nothing asks for its rows, and when they are not it has read what it missed.
#[test]
fn a_pair_that_is_left_out_rests_until_it_is_needed() {
    let mut steered = load(&demo(1.0)).expect("the trio loads");
    // It is awake 16 positions ahead of its need.
    let schedule: Schedule = "1@0,0@8,1@88".parse().expect("a schedule");
    let seeded = |seed| Sampling { seed: Some(seed), ignore_eos: true, ..Sampling::default() };
    for (draft, sampling) in [
        (Draft::off(), Sampling { ignore_eos: true, ..Sampling::greedy() }),
        (Draft::default(), seeded(4)),
        (Draft::fixed(3, Drafter::Expert), seeded(5)),
    ] {
        let drafts = draft.n_step() > 1;
        let weights = WeightsRequest { alpha: vec![schedule.clone()], ..WeightsRequest::default() };
        let input = Input::Conversation(Conversation::prompt(PROMPT));
        let rests = Request { draft, sampling, weights, input, ..greedy(100) };
        let mut generate = |request: &Request| {
            let answer = steered.run(request);
            let n_decoded = |role| answer.timings.iter().find(|(of, _)| *of == role).expect("a role").1.n_decode;
            ([Role::Base, Role::Expert(0), Role::Antiexpert(0)].map(n_decoded), answer.tokens)
        };
        let ([base, expert, antiexpert], tokens) = generate(&rests);
        // Who asks what every role thought of every token asks for every row.
        let ([.., all], awake) = generate(&Request { n_probs: Some(1), ..rests.clone() });
        assert_eq!(tokens, awake, "drafts: {drafts}");
        assert!(tokens.len() == 100 && all >= 99 && antiexpert < all / 2, "{base}, {expert}, {antiexpert} of {all}");
        assert_eq!(expert < base / 2, !drafts, "one that drafts has work all along: {base}, {expert}");
    }
}

/// Of two pairs one rests, or both; an expert whose pair has no say still drafts.
#[test]
fn pairs_rest_one_by_one() {
    let pair = |side: Option<SidePlan>| (1.0, side, model(file("antiexpert")));
    let plan = plan("base", &[pair(model(file("expert"))), pair(model(file("expert-inside")))]);
    let schedule = |text: &str| text.parse::<Schedule>().expect(text);
    let request = |first: &str, second: &str, draft: Draft| Request {
        weights: WeightsRequest { alpha: vec![schedule(first), schedule(second)], ..WeightsRequest::default() },
        input: Input::Conversation(Conversation::prompt(PROMPT)),
        sampling: Sampling { ignore_eos: true, ..Sampling::greedy() },
        draft,
        ..greedy(70)
    };
    let requests = [
        request("1@0,0@4", "0@0,1@40,0@50", Draft::off()),
        request("0@0,0.5@60", "1@0,0@2,1@44", Draft::default()),
        request("0", "0", Draft::default()),
    ];
    let alone = requests.clone().map(|request| load(&plan).expect("it loads").run(&request));
    let awake = requests.clone().map(|request| {
        let all = Request { n_probs: Some(0), ..request };
        load(&plan).expect("it loads").run(&all).tokens
    });
    assert_eq!(alone.each_ref().map(|answer| answer.tokens.clone()), awake);
    let [.., unsteered] = &alone;
    assert!(unsteered.stats.by_model.n_accept > 4, "{:?}", unsteered.stats);
    let n_decoded = |role| unsteered.timings.iter().find(|(of, _)| *of == role).expect("a role").1.n_decode;
    assert_eq!([Role::Antiexpert(0), Role::Expert(1)].map(n_decoded), [0, 0]);
}
