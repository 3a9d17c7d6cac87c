//! Extreme values in a request: each is harmless, or refused in words before anything is decoded.

use proxytune::generate::{Input, Request};
use proxytune::prompt::Conversation;
use proxytune::sampling::{Sampler, Samplers};

use crate::trio::{PROMPT, demo, generate, load, sampled};

type Spoil = fn(&mut Request);

/// Spoils a request, and the words of the refusal: none where two tokens are written as ever.
const CASES: [(&str, Spoil); 37] = [
    // Texts: too many, too long.
    ("dry-sequence-breaker is 5000 texts, expected at most 64", |r| {
        r.sampling.dry_sequence_breakers = (0..5000).map(|i| i.to_string()).collect();
    }),
    ("dry-sequence-breaker is a text of 1000000 bytes", |r| {
        r.sampling.dry_sequence_breakers = vec!["a".repeat(1_000_000)];
    }),
    ("", |r| r.sampling.dry_sequence_breakers = vec!["a".repeat(40); 64]),
    ("stop is 100000 texts, expected at most 128", |r| r.stop = vec!["@@".to_owned(); 100_000]),
    ("stop is a text of 1000000 bytes", |r| r.stop = vec!["@".repeat(1_000_000)]),
    ("", |r| r.stop = vec!["@".repeat(1024); 128]),
    ("it has 1000000 bytes, at most 65536", |r| r.sampling.grammar = Some("a".repeat(1_000_000))),
    ("nest 5000 deep", |r| r.sampling.grammar = Some(format!("root ::= {}", "(".repeat(5000)))),
    ("", |r| r.sampling.grammar = Some("root ::= ((\"a\"{1000}){1000}){1000}".to_owned())),
    ("repeats more often than 2000 times", |r| r.sampling.grammar = Some("root ::= \"a\"{1000000000}".to_owned())),
    ("it has 1000000 bytes, at most 262144", |r| r.sampling.json_schema = Some("{".repeat(1_000_000))),
    ("", |r| r.sampling.json_schema = Some(r#"{"type":"array","items":{},"minItems":1000000}"#.to_owned())),
    ("", |r| r.sampling.json_schema = Some(r#"{"type":"string","maxLength":1000000000}"#.to_owned())),
    ("", |r| r.sampling.json_schema = Some(r#"{"type":"string","pattern":"^((a{999}){999}){999}$"}"#.to_owned())),
    // Lists of tokens and numbers.
    ("logit-bias is 100000 biases, expected at most one for each of the 4096 tokens", |r| {
        r.sampling.logit_bias = vec![(1, 1.0); 100_000];
    }),
    ("outside the vocabulary", |r| r.sampling.logit_bias = vec![(i32::MAX, 1.0)]),
    ("", |r| r.sampling.logit_bias = (0..4000).map(|id| (id, -0.5)).collect()),
    ("n-probs is 1000000000, expected at most the 4096 tokens", |r| r.n_probs = Some(1_000_000_000)),
    ("", |r| r.n_probs = Some(4096)),
    ("", |r| r.sampling.samplers = repeated(64)),
    // Numbers.
    ("", |r| r.sampling.seed = Some(u32::MAX - 1)),
    ("seed is", |r| r.sampling.seed = Some(u32::MAX)),
    ("", |r| r.sampling.top_k = i32::MAX),
    ("", |r| r.sampling.top_k = i32::MIN),
    ("", |r| r.sampling.min_keep = u32::MAX),
    ("", |r| {
        // A window as long as the number says would take 8 GiB.
        r.sampling.repeat_last_n = i32::MAX;
        r.sampling.repeat_penalty = 1.1;
    }),
    ("", |r| {
        r.sampling.dry_penalty_last_n = i32::MAX;
        r.sampling.dry_allowed_length = i32::MAX;
        r.sampling.dry_multiplier = 1.0;
    }),
    ("repeat-last-n is", |r| r.sampling.repeat_last_n = i32::MIN),
    ("", |r| r.sampling.dynatemp_range = 1e4),
    ("temp is", |r| r.sampling.temp = f32::MAX),
    ("top-nsigma is", |r| r.sampling.top_n_sigma = f32::INFINITY),
    ("mirostat is", |r| r.sampling.mirostat = u8::MAX),
    ("", |r| {
        r.sampling.mirostat = 1;
        r.sampling.mirostat_tau = 1e4;
        r.sampling.mirostat_eta = 1e2;
    }),
    ("", |r| r.sampling.plausibility = 1.0),
    ("xtc-probability is", |r| r.sampling.xtc_probability = f32::MAX),
    ("adaptive-decay is", |r| r.sampling.adaptive_decay = f32::MAX),
    ("dry-base is", |r| r.sampling.dry_base = f32::MAX),
];

fn repeated(n: usize) -> Samplers {
    let samplers = Samplers::from_letters(&"k".repeat(n - 1)).expect("letters");
    assert_eq!(samplers.order().iter().filter(|&&sampler| sampler == Sampler::TopK).count(), n - 1);
    samplers
}

#[test]
fn extreme_values_are_harmless_or_refused_in_words() {
    let mut steered = load(&demo(1.0)).expect("the trio loads");
    for (i, (words, spoil)) in CASES.iter().enumerate() {
        let mut request = sampled(2, 1);
        spoil(&mut request);
        let done = generate(&mut steered, PROMPT, &request);
        match (words.is_empty(), done) {
            (true, Ok(answer)) => assert!((1..=2).contains(&answer.tokens.len()), "case {i}: {answer:?}"),
            (false, Err(failure)) => {
                assert!(failure.is_usage() && failure.message.contains(words), "case {i}: {failure}");
            }
            (_, done) => panic!("case {i}, expected {words:?}: {done:?}"),
        }
    }
}

#[test]
fn a_text_may_have_no_end_but_that_of_the_context() {
    let mut steered = load(&demo(1.0)).expect("the trio loads");
    let input = Input::Conversation(Conversation::prompt(PROMPT));
    let answer = steered.run(&Request { input, ..sampled(usize::MAX, 1) });
    assert!(answer.tokens.len() <= 256, "{}", answer.tokens.len());
}
