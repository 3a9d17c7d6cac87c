//! What ended a text is told.

use proxytune::generate::{Finish, Input, Request, StopReason};
use proxytune::sampling::Sampling;
use proxytune::steer::Sampled;

use crate::trio::{self, PROMPT, demo, greedy, load};

#[test]
fn a_text_tells_what_ended_it() {
    let mut steered = load(&demo(1.0)).expect("the trio loads");
    let eog = steered.ensemble().ends(Sampled::Steered).expect("there are some").eog[0];
    let mut ends = |sampling: Sampling, stop: &[&str], n_predict: usize| {
        let stop = stop.iter().map(|&stop| stop.to_owned()).collect();
        let request = Request { input: Input::text(PROMPT), sampling, stop, ..greedy(n_predict) };
        let answer = steered.run(&request);
        assert_eq!(answer.failure, None);
        (answer.finish, answer.stopped_by)
    };
    let plain = Sampling::greedy;
    assert_eq!(ends(plain(), &[], 4), (Some(Finish::Length), None));
    assert_eq!(ends(plain(), &[], 0), (Some(Finish::Length), None));
    let (finish, stopped_by) = ends(plain(), &["never said", "e", "w"], 40);
    assert_eq!(finish, Some(Finish::Stop));
    assert!(
        matches!(&stopped_by, Some(StopReason::Text(stop)) if ["e", "w"].contains(&stop.as_str())),
        "{stopped_by:?}"
    );
    let forced = Sampling { logit_bias: vec![(eog, 100.0)], ..plain() };
    assert_eq!(ends(forced, &["a"], 40), (Some(Finish::Stop), Some(StopReason::Eog(eog))));
    // A grammar that is complete allows the token that ends the text, unless that is forbidden.
    let grammar = || Some("root ::= \" a\"".to_owned());
    let allowed = Sampling { grammar: grammar(), ..plain() };
    assert_eq!(ends(allowed, &[], 40), (Some(Finish::Stop), Some(StopReason::Eog(eog))));
    let forbidden = Sampling { grammar: grammar(), ignore_eos: true, ..plain() };
    assert_eq!(ends(forbidden, &[], 40), (Some(Finish::Stop), Some(StopReason::Grammar)));
}

/// Penalties see the prompt, whichever way it is given.
#[test]
fn penalties_know_every_kind_of_prompt() {
    let mut steered = load(&demo(1.0)).expect("the trio loads");
    let tokens = steered.model().tokenize("one two three one two three one two").expect("tokens");
    let text = "one two three one two three one two".to_owned();
    let raw = proxytune::prompt::Piece::Raw(text.clone());
    let mixed = [raw.clone(), proxytune::prompt::Piece::Tokens(vec![tokens[tokens.len() - 1]])];
    for input in [Request::prompt(text).input, Input::Raw(vec![raw]), Input::Raw(mixed.to_vec()), Input::Tokens(tokens)]
    {
        // So high that no token of the prompt can be the answer's.
        let penalties =
            Sampling { presence_penalty: 10.0, repeat_penalty: 10.0, repeat_last_n: -1, ..Sampling::greedy() };
        let answer = steered.run(&Request { input: input.clone(), sampling: penalties, ..trio::greedy(8) });
        assert_eq!(answer.failure, None);
        let prompt = &answer.started.prompts[0].tokens;
        assert!(answer.tokens.iter().all(|token| !prompt.contains(token)), "{input:?}: {:?}", answer.tokens);
    }
}
