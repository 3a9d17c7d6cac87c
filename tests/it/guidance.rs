//! Classifier-free guidance: one model with a prompt and without it, also where nothing stands in front of a text.

use proxytune::prompt::Conversation;
use proxytune::recipe::View;
use proxytune::steer::{Plan, Role, Sampled, SidePlan};

use crate::command_line::json;
use crate::gguf::{Spec, Value};
use crate::trio::{self, load, plan, source};

const PROMPT: &str = "abc de";

/// What files say of BOS: texts begin with it, they do not, there is none.
fn specs() -> [Spec; 3] {
    let quiet = Spec::tiny().with("tokenizer.ggml.add_bos_token", Value::Bool(false));
    [Spec::tiny(), quiet.clone(), quiet.without("tokenizer.ggml.bos_token_id")]
}

fn guidance(path: &std::path::Path) -> Plan {
    let without = SidePlan::base().seen_as(View { prompt: Some(String::new()), ..View::default() });
    Plan { base: source(path).into(), ..plan("base", &[(0.5, Some(SidePlan::base()), Some(without))]) }
}

#[test]
fn a_role_without_a_prompt_begins_with_bos_or_with_the_last_token_of_the_prompt() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (i, spec) in specs().iter().enumerate() {
        let path = folder.path().join(format!("{i}.gguf"));
        spec.write(&path).expect("writable");
        let mut steered = load(&guidance(&path)).expect("it loads");
        let prompts = steered.tokenize(PROMPT).expect("prompts");
        let last = prompts.sampled().last().copied().expect("a token");
        let begins = steered.role(Role::Antiexpert(0), &prompts);
        assert_eq!(begins, [if i < 2 { 0 } else { last }], "{i}");
        let alone = Sampled::Alone(Role::Antiexpert(0));
        let alone = steered.ensemble().prompts(alone, &Conversation::prompt(PROMPT), &[]).expect("prompts");
        assert_eq!(alone.sampled(), begins);
        let answer = trio::generate(&mut steered, PROMPT, &trio::greedy(4)).expect("it generates");
        assert_eq!(answer.tokens.len(), 4);
        // Who is given nothing at all has nothing to go on from.
        assert!(i == 0 || steered.tokenize("").is_ok_and(|prompts| prompts.sampled().is_empty()));
    }
}

#[test]
fn generate_and_check_say_the_same_of_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = [
        "begins with <|bos|>",
        "begins with <|bos|>, the BOS that its file names",
        "begins with the last token of the prompt",
    ];
    for (i, (spec, words)) in specs().iter().zip(expected).enumerate() {
        let path = folder.path().join(format!("{i}.gguf"));
        spec.write(&path).expect("writable");
        let model = path.to_str().expect("UTF-8");
        let models = ["-R", "guidance", "-m", model];
        let generate = ["-p", PROMPT, "-n", "3", "--ignore-eos", "--json"];
        let object = json(&[&["generate"], &models[..], &generate].concat());
        assert_eq!(object["prompt_tokens"]["antiexpert"].as_array().map(Vec::len), Some(1));
        assert_eq!(object["tokens"].as_array().map(Vec::len), Some(3));
        let checked = json(&[&["check", "--json"], &models[..]].concat());
        let findings = checked["findings"].as_array().expect("findings");
        let finding = findings.iter().find(|finding| finding["topic"] == "prompt").expect("one of the prompt");
        assert!(finding["text"].as_str().is_some_and(|text| text.ends_with(words)), "{finding}");
        assert_eq!((&finding["role"], &checked["can_run"]), (&"antiexpert".into(), &true.into()));
    }
}
