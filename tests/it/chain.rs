//! llama.cpp's samplers around the stage, on the bundled trio.

use proxytune::generate::Request;
use proxytune::llama::chain::{Bounds, Chain};
use proxytune::llama::{Error, Token};
use proxytune::sampling::Sampling;
use proxytune::steer::Sampled;

use crate::trio::{PROMPT, Steered, answer, demo, load};

fn ready() -> Steered {
    let mut steered = load(&demo(1.0)).expect("the trio loads");
    let prompts = steered.tokenize(PROMPT).expect("tokens");
    steered.read(&prompts).expect("it decodes");
    steered
}

fn chain(steered: &Steered, sampling: &Sampling) -> Result<Chain, Error> {
    Chain::new(steered.model(), sampling, &Bounds { n_ctx: 256, ..Bounds::default() })
}

fn sample(steered: &Steered, chain: &mut Chain) -> Token {
    let (base, terms) = steered.row(0).expect("a row");
    chain.sample(base, &terms).expect("a token")
}

fn best(row: &[f32], n: usize) -> Vec<Token> {
    let mut ids: Vec<_> = (0..row.len()).collect();
    ids.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    ids[..n].iter().map(|&id| id as Token).collect()
}

#[test]
fn the_order_is_as_asked() {
    let steered = ready();
    let names = |sampling: &Sampling| chain(&steered, sampling).expect("a chain").names().join(" ");
    let default = Sampling::default();
    assert_eq!(
        names(&default),
        "proxy-tuning ?penalties ?dry ?top-n-sigma top-k ?typical top-p min-p ?xtc temp-ext dist"
    );
    let placed = Sampling { samplers: "top_p;proxy;temperature".parse().expect("names"), ..default.clone() };
    assert_eq!(names(&placed), "top-p proxy-tuning temp-ext dist");
    let everything = Sampling {
        logit_bias: vec![(3, 1.0)],
        grammar: Some("root ::= \"a\"".to_owned()),
        temp: 0.0,
        samplers: "top_k".parse().expect("names"),
        ..default.clone()
    };
    assert_eq!(names(&everything), "logit-bias grammar proxy-tuning top-k greedy");
    assert_eq!(names(&Sampling { mirostat: 2, ..default.clone() }), "proxy-tuning temp mirostat-v2");
    let gumbel = Sampling { samplers: "gumbel;top_k;temperature".parse().expect("names"), ..default.clone() };
    assert_eq!(names(&gumbel), "proxy-tuning top-k temp-ext gumbel");
    assert_eq!(names(&Sampling { temp: 0.0, ..gumbel }), "proxy-tuning top-k temp-ext greedy");
    let adaptive = Sampling { samplers: "min_p;adaptive_p".parse().expect("names"), adaptive_target: 0.5, ..default };
    assert_eq!(names(&adaptive), "proxy-tuning min-p adaptive-p");
}

#[test]
fn a_truncation_in_front_of_the_stage_is_the_bases() {
    let steered = ready();
    let (base, _) = steered.row(0).expect("a row");
    let allowed = best(base, 3);
    let composed = steered.composed(0, 0.0).expect("a row");
    for seed in 0..40 {
        let sampling = Sampling {
            samplers: "top_k;proxy;temperature".parse().expect("names"),
            top_k: 3,
            temp: 1.5,
            seed: Some(seed),
            ..Sampling::default()
        };
        assert!(allowed.contains(&sample(&steered, &mut chain(&steered, &sampling).expect("a chain"))));
        let sampling = Sampling { samplers: "proxy;top_k;temperature".parse().expect("names"), ..sampling };
        let token = sample(&steered, &mut chain(&steered, &sampling).expect("a chain"));
        assert!(best(&composed, 3).contains(&token));
    }
}

#[test]
fn every_sampler_runs_behind_and_in_front_of_the_stage() {
    let base = Sampling {
        seed: Some(3),
        repeat_penalty: 1.2,
        presence_penalty: 0.1,
        frequency_penalty: 0.1,
        dry_multiplier: 0.8,
        top_n_sigma: 1.5,
        typical_p: 0.9,
        xtc_probability: 0.5,
        dynatemp_range: 0.3,
        adaptive_target: 0.4,
        ..Sampling::default()
    };
    let names = "penalties dry top_n_sigma top_k typ_p top_p min_p xtc temperature adaptive_p gumbel";
    for name in names.split(' ') {
        for order in [format!("proxy;{name}"), format!("{name};proxy"), format!("top_k;proxy;{name};temperature")] {
            let sampling = Sampling { samplers: order.parse().expect("names"), ..base.clone() };
            let request = Request { sampling, n_predict: Some(12), ..Request::default() };
            let first = answer(&demo(1.0), &request);
            assert_eq!(first, answer(&demo(1.0), &request), "{order}: the same seed gives the same text");
        }
    }
    for mirostat in [1, 2] {
        let request = Request {
            sampling: Sampling { mirostat, seed: Some(3), ..Sampling::default() },
            n_predict: Some(12),
            ..Request::default()
        };
        assert_eq!(answer(&demo(1.0), &request), answer(&demo(1.0), &request));
    }
}

#[test]
fn applying_twice_gives_the_same() {
    let steered = ready();
    let mut chain = chain(&steered, &Sampling::greedy()).expect("a chain");
    let first = sample(&steered, &mut chain);
    assert_eq!(sample(&steered, &mut chain), first);
}

#[test]
fn a_clone_goes_on_as_its_origin_would_and_reset_starts_anew() {
    let steered = ready();
    let base = Sampling { seed: Some(11), temp: 1.5, ..Sampling::default() };
    let plain = Sampling { repeat_penalty: 1.5, dry_multiplier: 0.5, xtc_probability: 0.5, ..base.clone() };
    let grammar = Sampling { grammar: Some("root ::= [a-z ]+".to_owned()), ..base.clone() };
    let mirostat = |version| Sampling { mirostat: version, ..base.clone() };
    let gumbel = Sampling { samplers: "penalties;temperature;gumbel".parse().expect("names"), ..base.clone() };
    for sampling in [plain, grammar, mirostat(1), mirostat(2), gumbel, Sampling { temp: 0.0, ..base.clone() }] {
        let mut origin = chain(&steered, &sampling).expect("a chain");
        let draw = |chain: &mut Chain| {
            let token = sample(&steered, chain);
            chain.accept(token).expect("it accepts");
            token
        };
        let whole: Vec<_> = (0..8).map(|_| draw(&mut origin)).collect();
        origin.reset();
        let again: Vec<_> = (0..4).map(|_| draw(&mut origin)).collect();
        assert_eq!(again, whole[..4]);
        let mut copy = origin.try_clone().expect("a clone");
        let of_origin: Vec<_> = (0..4).map(|_| draw(&mut origin)).collect();
        drop(origin);
        let of_copy: Vec<_> = (0..4).map(|_| draw(&mut copy)).collect();
        assert_eq!(of_copy, of_origin);
        assert_eq!(of_copy, whole[4..]);
    }
    let adaptive = Sampling { samplers: "adaptive_p".parse().expect("a name"), adaptive_target: 0.5, ..base };
    assert!(matches!(chain(&steered, &adaptive).expect("a chain").try_clone(), Err(Error::CannotClone)));
}

#[test]
fn a_row_of_another_size_is_refused() {
    let steered = ready();
    let (base, terms) = steered.row(0).expect("a row");
    let mut chain = chain(&steered, &Sampling::greedy()).expect("a chain");
    for row in [&base[1..], &[], &[base, base].concat()] {
        assert!(matches!(chain.sample(row, &terms), Err(Error::RowSize { .. })));
    }
}

#[test]
fn a_grammar_holds_under_steering() {
    let grammar = "root ::= (\"yes\" | \"no\") \", \" [0-9]{3} \".\"";
    for seed in 0..4 {
        let sampling = Sampling { grammar: Some(grammar.to_owned()), seed: Some(seed), ..Sampling::default() };
        let text = answer(&demo(1.5), &Request { sampling, ..Request::default() }).text;
        let (word, number) = text.split_once(", ").unwrap_or_else(|| panic!("{text:?}"));
        assert!(["yes", "no"].contains(&word), "{text:?}");
        let digits = number.strip_suffix('.').unwrap_or_else(|| panic!("{text:?}"));
        assert!(digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
    }
}

#[test]
fn a_json_schema_holds_under_steering() {
    let schema = r#"{"type":"object","properties":{"name":{"type":"string","maxLength":12},"age":{"type":"integer",
        "minimum":0,"maximum":99}},"required":["name","age"],"additionalProperties":false}"#;
    for seed in 0..3 {
        let sampling = Sampling { json_schema: Some(schema.to_owned()), seed: Some(seed), ..Sampling::default() };
        let text = answer(&demo(1.0), &Request { sampling, n_predict: Some(150), ..Request::default() }).text;
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
        assert!(value["name"].is_string() && value["age"].as_i64().is_some_and(|age| (0..=99).contains(&age)));
    }
}

#[test]
fn what_llama_cpp_would_not_survive_is_refused() {
    let steered = ready();
    let refused = |sampling: Sampling| chain(&steered, &sampling).expect_err("refused").to_string();
    let n_vocab = steered.model().n_vocab() as Token;
    assert!(refused(Sampling { logit_bias: vec![(n_vocab, 1.0)], ..Sampling::default() }).contains("outside"));
    assert!(refused(Sampling { temp: f32::NAN, ..Sampling::default() }).contains("temp"));
    for grammar in ["", "root ::= (", "root ::= nowhere", "rot ::= \"a\"", "root ::= root \"a\"", "\0"] {
        let sampling = Sampling { grammar: Some(grammar.to_owned()), ..Sampling::default() };
        assert!(refused(sampling).contains("grammar"), "{grammar:?}");
    }
    let deep = format!("root ::= {}\"a\"{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(refused(Sampling { grammar: Some(deep), ..Sampling::default() }).contains("10000"));
}

#[test]
fn masking_every_token_is_an_error_not_a_token() {
    let steered = ready();
    let n_vocab = steered.model().n_vocab() as Token;
    let logit_bias: Vec<_> = (0..n_vocab).map(|token| (token, f32::NEG_INFINITY)).collect();
    for temp in [0.0, 1.0] {
        let sampling = Sampling { logit_bias: logit_bias.clone(), temp, ..Sampling::default() };
        let mut chain = chain(&steered, &sampling).expect("a chain");
        let (base, terms) = steered.row(0).expect("a row");
        assert!(matches!(chain.sample(base, &terms), Err(Error::NothingToChoose)));
    }
}

#[test]
fn a_token_that_the_grammar_cannot_take_stops_the_chain() {
    let steered = ready();
    let sampling = Sampling { grammar: Some("root ::= \"xyz\"".to_owned()), ..Sampling::greedy() };
    let mut chain = chain(&steered, &sampling).expect("a chain");
    let wrong = steered.model().tokenize("Q").expect("tokens").pop().expect("one");
    assert!(matches!(chain.accept(wrong), Err(Error::GrammarRefused { .. })));
    let (base, terms) = steered.row(0).expect("a row");
    assert!(matches!(chain.sample(base, &terms), Err(Error::GrammarRefused { .. })));
    chain.reset();
    assert!(chain.sample(base, &terms).is_ok());
    // The end of the text while the grammar still wants some would make llama.cpp abort.
    let eog = steered.ensemble().ends(Sampled::Steered).expect("there are some").eog[0];
    assert!(matches!(chain.accept(eog), Err(Error::GrammarRefused { .. })));
}
