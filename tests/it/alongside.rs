//! The pairs beside a base that somebody else decodes.

use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use proxytune::llama::stage;
use proxytune::steer::{Ensemble, Error, HostVocabulary, Models, Plan, Sequence, Side, SidePlan, Texts};

use crate::trio::{PROMPT, answer, backend, demo, file, greedy, load, plan};

fn beside() -> Plan {
    Plan::beside(HostVocabulary::File(file("base")), demo(1.0).pairs)
}

fn load_beside(plan: &Plan) -> Result<Ensemble, Error> {
    proxytune::llama::log::capture(false);
    Ensemble::load(&backend(), plan, &mut Models::default(), &mut |_, _, _| true)
}

fn read(pairs: &mut Ensemble, sequence: &mut Sequence) {
    assert!(pairs.read(sequence, || true).expect("it decodes"));
}

#[test]
fn a_program_that_decodes_the_base_chooses_the_same_tokens() {
    let expected = answer(&demo(1.0), &greedy(32)).tokens;
    let mut base = load(&plan("base", &[])).expect("it loads");
    let prompts = base.tokenize(PROMPT).expect("tokens");
    base.read(&prompts).expect("it decodes");
    let mut pairs = load_beside(&beside()).expect("it loads");
    let mut sequence = pairs.open().expect("the first");
    pairs.feed(&mut sequence, Side::Both, prompts.sampled()).expect("tokens of the base");

    let mut tokens = Vec::new();
    while tokens.len() < expected.len() {
        read(&mut pairs, &mut sequence);
        let row = base.composed(tokens.len(), 0.0).expect("a row");
        let row = row.iter().zip(0..).map(|(&logit, id)| LlamaTokenData::new(LlamaToken(id), logit, 0.0));
        let mut candidates = LlamaTokenDataArray::from_iter(row, false);
        let terms = pairs.terms(&sequence, tokens.len()).expect("terms");
        stage::apply_to(&mut candidates, 0.0, &terms).expect("finite");
        let LlamaToken(token) = candidates.sample_token_greedy();
        tokens.push(token);
        base.decode(&[token]).expect("it decodes");
        pairs.push(&mut sequence, token).expect("a token of the pair");
    }
    assert_eq!(tokens, expected);
}

#[test]
fn experts_and_antiexperts_may_read_different_texts() {
    let mut pairs = load_beside(&Plan { texts: Texts::sharing(2, 2), ..beside() }).expect("it loads");
    let texts: [&[i32]; 2] = [&[10, 11, 12, 13, 14], &[20, 21, 22]];
    let mut apart = pairs.open().expect("the first");
    pairs.feed(&mut apart, Side::Experts, texts[0]).expect("tokens of the base");
    pairs.feed(&mut apart, Side::Antiexperts, texts[1]).expect("tokens of the base");
    pairs.push(&mut apart, 7).expect("a token of both");
    read(&mut pairs, &mut apart);
    let rows = pairs.copy_rows(&apart).expect("rows").logits;
    for (lane, text) in texts.into_iter().enumerate() {
        let mut together = pairs.open().expect("the second");
        pairs.feed(&mut together, Side::Both, &[text, &[7]].concat()).expect("tokens of the base");
        read(&mut pairs, &mut together);
        let expected = &pairs.copy_rows(&together).expect("rows").logits[lane];
        let furthest = rows[lane].iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Batches of another shape round differently.
        assert!(furthest < 0.25, "{furthest}");
        pairs.close(together);
    }
    // Both sides lose what is taken back, and nothing else.
    pairs.take_back(&mut apart, 2);
    assert_eq!(apart.lanes().map(|lane| apart.n_held(lane)).collect::<Vec<_>>(), [4, 2]);
}

#[test]
fn the_base_is_no_side_of_such_a_pair() {
    let mut plan = beside();
    plan.pairs[0].antiexpert = Some(SidePlan::base());
    let error = load_beside(&plan).expect_err("refused");
    assert!(matches!(error, Error::OfBase { .. }), "{error}");
}
