//! Texts that share their cells: what others have taken is missing, and comes back.

use std::cell::RefCell;

use proptest::prelude::*;

use proxytune::generate::{Finish, Input, Request};
use proxytune::llama::context::ContextParams;
use proxytune::steer::{Role, Sampled, Texts};

use crate::engine::{Faults, N_SLOTS, engine, invariant, run_cases, slots, together, unending, visits, with_context};
use crate::trio::{PROMPT, demo, greedy};

/// Where texts share their cells, sums round by where others left room: texts end all the same, and cells are found again.
#[test]
fn texts_that_share_cells_come_and_go() {
    let context = ContextParams { n_ctx: 256, ..invariant() };
    let plan = with_context(demo(1.0), &context);
    let many = RefCell::new(engine(&plan, Texts::sharing(6, 2), slots(N_SLOTS)));
    let strategy = (visits(&[Sampled::Steered, Sampled::Alone(Role::Base)], true), Just(Faults::default()));
    run_cases(80, strategy, |visits, _| {
        let mut many = many.borrow_mut();
        let answers = together(&mut many, &visits, |_| {});
        for ((request, _, cancelled), answer) in visits.iter().zip(&answers) {
            assert_eq!(answer.failure, None);
            let n = request.n_predict.expect("a number");
            let is_whole = answer.finish == Some(Finish::Stop) || answer.tokens.len() == n;
            assert!(is_whole || cancelled.is_some(), "{} of {n}: {:?}", answer.tokens.len(), answer.finish);
        }
        many.forget();
        assert_eq!(many.ensemble().n_room(), 2 * 256, "nothing is left behind");
    });
}

/// A text that is too long for what room there is ends there, and nobody else does.
#[test]
fn a_text_for_which_others_leave_no_room_ends_by_its_length() {
    let context = ContextParams { n_ctx: 128, ..invariant() };
    let mut many = engine(&with_context(demo(1.0), &context), Texts::sharing(3, 1), slots(3));
    let long = Request { sampling: unending(), ..Request::prompt(PROMPT) };
    let short = Request { n_predict: Some(8), ..long.clone() };
    let visits = [(long.clone(), 0, None), (long, 0, None), (short, 20, None)];
    let answers = together(&mut many, &visits, |_| {});
    assert!(answers.iter().all(|answer| answer.failure.is_none()), "{answers:?}");
    assert!(answers[..2].iter().all(|answer| answer.is_full && answer.finish == Some(Finish::Length)));
    let n: usize = answers[..2].iter().map(|answer| answer.tokens.len()).sum();
    assert!((200..=256).contains(&n), "256 cells were shared, {n} tokens written");
    assert_eq!((answers[2].tokens.len(), answers[2].is_full), (8, false));
}

#[test]
fn a_prompt_for_which_others_leave_no_room_waits() {
    let context = ContextParams { n_ctx: 256, ..invariant() };
    let mut many = engine(&with_context(demo(1.0), &context), Texts::sharing(3, 1), slots(3));
    let of =
        |first| Request { input: Input::Tokens((first..first + 150).collect()), sampling: unending(), ..greedy(4) };
    let answers = together(&mut many, &[(of(10), 0, None), (of(200), 0, None)], |_| {});
    for answer in answers {
        assert_eq!((answer.failure, answer.tokens.len(), answer.is_full), (None, 4, false), "256 cells are shared");
    }
}
