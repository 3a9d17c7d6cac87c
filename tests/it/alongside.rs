//! The pairs beside a base that somebody else decodes.

use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use proxytune::llama::stage;
use proxytune::steer::load::Models;
use proxytune::steer::pool::{Alongside, BaseVocabulary, PoolPlan, Side};
use proxytune::steer::{Error, Pool, SidePlan};

use crate::trio::{PROMPT, answer, backend, demo, file, greedy, load, plan};

fn of(n_texts: usize) -> PoolPlan {
    let (pairs, base) = (demo(1.0).pairs, BaseVocabulary::File(file("base")));
    PoolPlan { pairs, base, allow_drift: false, n_texts }
}

#[test]
fn a_program_that_decodes_the_base_chooses_the_same_tokens() {
    let expected = answer(&demo(1.0), &greedy(32)).tokens;
    let mut base = load(&plan("base", &[])).expect("it loads");
    let prompts = base.tokenize(PROMPT).expect("tokens");
    base.prefill(&prompts, || true).expect("it decodes");
    let mut pair = Alongside::load(&backend(), &of(1), &mut |_, _, _| true).expect("it loads");
    pair.feed(Side::Both, prompts.base()).expect("tokens of the base");

    let mut tokens = Vec::new();
    while tokens.len() < expected.len() {
        let (row, _) = base.row(0).expect("a row");
        let row = row.iter().zip(0..).map(|(&logit, id)| LlamaTokenData::new(LlamaToken(id), logit, 0.0));
        let mut candidates = LlamaTokenDataArray::from_iter(row, false);
        stage::apply_to(&mut candidates, 0.0, &pair.terms().expect("terms")).expect("finite");
        let LlamaToken(token) = candidates.sample_token_greedy();
        tokens.push(token);
        base.decode(&[token]).expect("it decodes");
        pair.accept(token).expect("a token of the pair");
    }
    assert_eq!(tokens, expected);
}

#[test]
fn a_text_that_begins_as_one_before_it_is_not_read_again() {
    let mut pool = Pool::load(&backend(), &of(2), &mut Models::default(), &mut |_, _, _| true).expect("it loads");
    let steering = pool.steering().clone();
    let read = |pool: &mut Pool, tokens: &[i32]| {
        let (mut text, mut place) = (steering.begin(), None);
        steering.feed(&mut text, Side::Both, tokens);
        let before = pool.n_decoded();
        pool.advance(&mut place, &text, || true).expect("it decodes");
        let n_read = pool.n_decoded() - before;
        pool.give_back(place.expect("a place"));
        n_read
    };
    let (first, second) = ((10..60).collect::<Vec<_>>(), (100..140).collect::<Vec<_>>());
    assert_eq!(read(&mut pool, &first), 2 * 50);
    assert_eq!(read(&mut pool, &second), 2 * 40, "in the other place");
    // Both are still there; the last token has to put out its row.
    assert_eq!(read(&mut pool, &first), 2);
    assert_eq!(read(&mut pool, &[&second[..], &[1, 2, 3]].concat()), 2 * 3);
    assert_eq!(read(&mut pool, &[&first[..20], &[7]].concat()), 2);
}

#[test]
fn the_base_is_no_side_of_such_a_pair() {
    let mut plan = of(1);
    plan.pairs[0].antiexpert = Some(SidePlan::base());
    let error = Alongside::load(&backend(), &plan, &mut |_, _, _| true).expect_err("refused");
    assert!(matches!(error, Error::OfBase { .. }), "{error}");
}
