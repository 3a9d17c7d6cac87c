//! Answers that are begun: tokens that nobody has to generate, and what goes on behind them.

use proxytune::engine::Engine;
use proxytune::generate::draft::Drafter;
use proxytune::generate::event::{Kind, Steered};
use proxytune::generate::{Answer, Draft, Event, Finish, Request};
use proxytune::llama::Token;
use proxytune::recipe::{Schedule, View};
use proxytune::sampling::Sampling;
use proxytune::steer::{Role, Sampled, Texts, WeightsRequest};

use crate::engine::{alone, engine, invariant, slots, with_context};
use crate::gguf::Spec;
use crate::trio::{PROMPT, alphas, demo, load};

fn ready() -> Engine {
    engine(&with_context(demo(1.0), &invariant()), Texts::ONE, slots(1))
}

fn greedy(n_predict: usize) -> Request {
    let sampling = Sampling { ignore_eos: true, ..Sampling::greedy() };
    Request { sampling, n_predict: Some(n_predict), ..Request::prompt(PROMPT) }
}

fn schedule(text: &str) -> WeightsRequest {
    WeightsRequest { alpha: vec![text.parse::<Schedule>().expect(text)], ..WeightsRequest::default() }
}

/// The rest of an answer of which the first `n` tokens are given.
fn rest(engine: &mut Engine, request: &Request, whole: &Answer, n: usize) -> Answer {
    let begin = whole.tokens[..n].to_vec();
    let n_predict = request.n_predict.map(|all| all - n);
    let rest = alone(engine, &Request { begin, n_predict, ..request.clone() });
    assert_eq!(rest.failure, None, "behind {n}");
    rest
}

#[test]
fn an_answer_goes_on_as_if_it_had_not_been_cut() {
    let mut engine = ready();
    let penalties = Sampling { repeat_penalty: 1.4, presence_penalty: 0.3, repeat_last_n: -1, ..greedy(1).sampling };
    let dry = Sampling { dry_multiplier: 0.8, ..greedy(1).sampling };
    for (weights, sampling) in [
        (schedule("1"), greedy(1).sampling),
        (schedule("1.5@0..0@31,0.7@35"), greedy(1).sampling),
        (schedule("0@0,1@24"), penalties),
        (schedule("0.1@0..0.9@37"), dry),
    ] {
        for draft in [Draft::off(), Draft::default(), Draft::fixed(4, Drafter::Expert)] {
            let (weights, sampling) = (weights.clone(), sampling.clone());
            let request = Request { weights, sampling, draft, n_probs: Some(1), ..greedy(40) };
            let whole = alone(&mut engine, &request);
            for n in [1, 7, 23, 24, 39, 40] {
                let rest = rest(&mut engine, &request, &whole, n);
                assert_eq!(rest.tokens, whole.tokens[n..], "behind {n}");
                assert_eq!(rest.positions, whole.positions[n..], "behind {n}");
                assert!(whole.text.ends_with(&rest.text), "{:?} and {:?}", rest.text, whole.text);
            }
        }
    }
}

#[test]
fn every_lane_reads_it_whatever_its_view_and_what_is_held_is_not_read_again() {
    let mut engine = ready();
    let view = View { system: None, prefix: Some("A tale. ".to_owned()), ..View::default() };
    let request = Request { views: vec![(Role::Expert(0), view)], ..greedy(30) };
    let whole = alone(&mut engine, &request);
    assert_eq!(whole.failure, None);
    let n_prompt = whole.started.n_prompt;
    let begun = Request { begin: whole.tokens[..20].to_vec(), n_predict: Some(10), ..request.clone() };
    let mut answer = Answer::default();
    engine.run(&begun, &false.into(), &mut answer, |_, _| Ok(())).expect("nothing is written");
    assert_eq!(answer.tokens, whole.tokens[20..]);
    assert_eq!((answer.started.n_prompt, answer.started.n_cached), (n_prompt + 60, n_prompt + 57));
    assert!(answer.started.prompts.iter().all(|prompt| prompt.tokens.ends_with(&whole.tokens[..20])));
    // One role by itself too, by its own ids.
    for role in [Role::Base, Role::Expert(0)] {
        let request = Request { sampled: Sampled::Alone(role), ..greedy(20) };
        let whole = alone(&mut engine, &request);
        assert_eq!(rest(&mut engine, &request, &whole, 8).tokens, whole.tokens[8..]);
    }
}

#[test]
fn lanes_that_number_their_tokens_otherwise_read_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = Spec::tiny();
    let moved = |seed| Spec { seed, order: Some(crate::vocabularies::shuffled(whole.tokens.len())), ..whole.clone() };
    let plan = crate::vocabularies::trio(folder.path(), &whole, &moved(2), &moved(3));
    let mut engine = load(&plan).expect("it loads").engine;
    let sampling = Sampling { ignore_eos: true, ..Sampling::greedy() };
    let request = Request { sampling, n_predict: Some(32), ..Request::prompt("abc de") };
    let whole = alone(&mut engine, &request);
    let rest = rest(&mut engine, &request, &whole, 12);
    assert_eq!(rest.tokens, whole.tokens[12..]);
    let [base, expert, ..] = &rest.started.prompts[..] else { panic!("{:?}", rest.started) };
    assert!(base.tokens.ends_with(&whole.tokens[..12]) && !expert.tokens.ends_with(&whole.tokens[..12]));
}

/// Forms have accepted what an answer begins with, and a document is held against its schema as a whole.
#[test]
fn forms_hold_for_the_whole_answer() {
    let mut engine = ready();
    let schema = r#"{"type": "object", "properties": {"name": {"enum": ["Lily", "Tom"]}, "small": {"type": "boolean"}},
        "required": ["name", "small"], "additionalProperties": false}"#;
    for sampling in [
        Sampling { grammar: Some(r#"root ::= ([a-z]+ " ")+ "end.""#.to_owned()), ..Sampling::greedy() },
        // A rule that leads back to itself.
        Sampling { grammar: Some(r#"root ::= "(" root ")" | "x""#.to_owned()), ..Sampling::greedy() },
        Sampling { json_schema: Some(schema.to_owned()), ..Sampling::greedy() },
        Sampling { regex: Some("[A-Z][a-z]+( [a-z]+){3,6}[.]".to_owned()), ..Sampling::greedy() },
    ] {
        let request = Request { sampling, n_predict: Some(24), ..Request::prompt(PROMPT) };
        let whole = alone(&mut engine, &request);
        assert_eq!(whole.failure, None);
        // The token that ends a text is no part of it.
        let n_text = whole.tokens.len() - usize::from(whole.finish == Some(Finish::Stop));
        for n in 1..=n_text {
            let rest = rest(&mut engine, &request, &whole, n);
            assert_eq!((&rest.tokens[..], rest.finish), (&whole.tokens[n..], whole.finish), "{:?}", request.sampling);
        }
        let wrong = engine.ensemble().model(0).tokenize(" 7").expect("tokens");
        let begin = [&whole.tokens[..1], &wrong].concat();
        let failure = alone(&mut engine, &Request { begin, ..request }).failure.expect("refused");
        assert!(failure.kind == Kind::Request && failure.message.contains("at position 1"), "{failure}");
    }
}

#[test]
fn a_character_that_is_cut_is_completed() {
    let mut engine = ready();
    let text = " a\u{1f600}\u{e9}z";
    let grammar = Some(format!("root ::= \"{text}\""));
    let request = Request { sampling: Sampling { grammar, ..Sampling::greedy() }, ..greedy(24) };
    let whole = alone(&mut engine, &request);
    assert_eq!(whole.text, text);
    let (model, mut bytes, mut n_cut) = (engine.ensemble().model(0).clone(), Vec::new(), 0);
    for n in 1..whole.tokens.len() {
        model.append_piece(whole.tokens[n - 1], &mut bytes).expect("a piece");
        let n_told = bytes.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
        n_cut += usize::from(n_told < bytes.len());
        assert_eq!(rest(&mut engine, &request, &whole, n).text, text[n_told..], "behind {n}");
    }
    assert!(n_cut > 2, "{n_cut} of {}", whole.tokens.len());
}

#[test]
fn stop_strings_begin_in_it() {
    let mut engine = ready();
    let whole = alone(&mut engine, &greedy(30));
    let n = 10;
    let told = alone(&mut engine, &greedy(n)).text;
    let stop = whole.text[told.len() - 2..told.len() + 3].to_owned();
    let request = Request { stop: vec![stop.clone(), "never said".to_owned()], ..greedy(30) };
    let rest = rest(&mut engine, &request, &whole, n);
    assert_eq!((rest.text.as_str(), rest.finish), ("", Some(Finish::Stop)), "{stop:?}");
    // What only might have become one is not told twice.
    let almost = format!("{}never", &told[told.len() - 2..]);
    let request = Request { stop: vec![almost], ..greedy(30) };
    let rest = self::rest(&mut engine, &request, &whole, n);
    assert_eq!(told + &rest.text, whole.text);
}

#[test]
fn positions_of_what_changes_count_it() {
    let mut engine = ready();
    let request = Request { weights: schedule("1@0..0.2@32"), ..greedy(40) };
    let whole = alone(&mut engine, &request);
    let id = engine.submit(&Request { begin: whole.tokens[..9].to_vec(), n_predict: Some(31), ..request.clone() });
    let id = id.expect("it is taken in");
    let (mut tokens, mut steered): (Vec<Token>, Vec<Steered>) = Default::default();
    loop {
        if tokens.len() >= 5 && steered.is_empty() {
            engine.steer(id, &schedule("1@0,0.5@20"));
        }
        let goes_on = engine.tick(&mut |_, event| match event {
            Event::Token(token) => tokens.push(token.token),
            Event::Steered(event) => steered.push(event),
            _ => {}
        });
        if !goes_on {
            break;
        }
    }
    let [Steered { position, alpha }] = &steered[..] else { panic!("{steered:?}") };
    assert!((9 + 5..20).contains(position), "{position}");
    assert_eq!(alpha, &schedule("1@0,0.5@20").alpha);
    let old = schedule("1@0..0.2@32").alpha[0].at(position - 1);
    let joined = format!("1@0..{old}@{},1@{position},0.5@20", position - 1);
    let expected = alone(&mut engine, &Request { weights: schedule(&joined), ..greedy(40) });
    assert_eq!(tokens, expected.tokens[9..]);
}

#[test]
fn what_no_answer_can_begin_with_is_refused() {
    let mut engine = ready();
    let eog = engine.ensemble().ends(Sampled::Steered).expect("there are some").eog[0];
    let n_vocab = engine.ensemble().model(0).n_vocab() as Token;
    let whole = alone(&mut engine, &greedy(12));
    let stop = vec![whole.text.split_whitespace().next().expect("a word").to_owned()];
    let long = vec![whole.tokens[0]; 300];
    let tokens = || whole.tokens[..6].to_vec();
    for (request, kind, words) in [
        (Request { begin: vec![5, eog, 5], ..greedy(4) }, Kind::Request, "at position 1"),
        (Request { begin: vec![5, 5, n_vocab], ..greedy(4) }, Kind::Request, "at position 2"),
        (Request { begin: vec![-1], ..greedy(4) }, Kind::Request, "at position 0"),
        (Request { begin: tokens(), stop, ..greedy(4) }, Kind::Request, "stop string"),
        (Request { begin: tokens(), prompt_probs: Some(0), ..greedy(4) }, Kind::Request, "prompt-probs"),
        (Request { begin: long, ..greedy(4) }, Kind::ContextLength, "leaves no room"),
    ] {
        let failure = alone(&mut engine, &request).failure.expect("refused");
        assert!(failure.kind == kind && failure.message.contains(words), "{failure}");
    }
    let again = alone(&mut engine, &Request { weights: alphas(&[1.0]), begin: Vec::new(), ..greedy(12) });
    assert_eq!(again.tokens, whole.tokens);
}
