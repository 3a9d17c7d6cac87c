//! Special tokens by their names: tokens in a prompt that is typed for the model as it is, text everywhere else.

use std::io::Write;

use proxytune::llama::Token;
use proxytune::prompt::Conversation;
use proxytune::steer::Role;

use crate::command_line::json;
use crate::gguf::{Spec, TokenType, Value, byte_tokens};
use crate::trio::{self, load};

/// A model that fills in the middle, without a token in front of its texts.
fn spec() -> Spec {
    let mut tokens = byte_tokens(300);
    for (place, name) in ["<|fim_prefix|>", "<|fim_suffix|>", "<|im_start|>"].into_iter().enumerate() {
        tokens[290 + place] = (name.to_owned(), TokenType::Control);
    }
    Spec { tokens, ..Spec::tiny() }.with("tokenizer.ggml.add_bos_token", Value::Bool(false))
}

const TYPED: &str = "<|fim_prefix|>a<|fim_suffix|>";
/// A byte's id is behind those of the two specials.
const PARSED: [i32; 3] = [290, 99, 291];

fn ids(object: &serde_json::Value, role: &str) -> Vec<i32> {
    serde_json::from_value(object["prompt_tokens"][role].clone()).expect("ids")
}

#[test]
fn names_of_special_tokens_are_tokens_in_a_plain_prompt() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("base.gguf");
    spec().write(&path).expect("writable");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(TYPED.as_bytes()).expect("writable");
    let (model, file) = (path.to_str().expect("UTF-8"), file.path().to_str().expect("UTF-8"));
    let prompt_of = |rest: &[&str]| {
        let object = json(&[&["generate", "-m", model, "-n", "1", "--json"], rest].concat());
        ids(&object, "base")
    };
    assert_eq!(prompt_of(&["-p", TYPED]), PARSED);
    assert_eq!(prompt_of(&["-f", file]), PARSED);
    assert_eq!(prompt_of(&["-p", TYPED, "--parse-special"]), PARSED);
    assert_eq!(prompt_of(&["-p", TYPED, "--no-parse-special"]).len(), TYPED.len());
    // A system prompt and what the answer begins with are typed as well.
    let all = prompt_of(&["-p", "a", "-sys", "<|im_start|>", "--response-prefix", "<|im_start|>"]);
    assert_eq!((all.first(), all.last()), (Some(&292), Some(&292)));
}

#[test]
fn roles_with_a_template_read_names_as_text() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let template = "{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}";
    let [base, expert] =
        [("base", spec()), ("expert", spec().with("tokenizer.chat_template", Value::Text(template.into())))].map(
            |(name, spec)| {
                let path = folder.path().join(name).with_extension("gguf");
                spec.write(&path).expect("writable");
                path.to_str().expect("UTF-8").to_owned()
            },
        );
    let models = ["generate", "-m", &base, "-me", &expert, "-ma", "base", "--alpha", "0.5"];
    let object =
        json(&[&models[..], &["-p", TYPED, "-n", "1", "--json", "--antiexpert-prompt", "<|im_start|>b"]].concat());
    assert_eq!(ids(&object, "base"), PARSED);
    assert_eq!(ids(&object, "antiexpert"), [292, 100], "a prompt of its own is typed too");
    let seen = ids(&object, "expert");
    assert_eq!((seen[0], seen.len()), (292, 1 + TYPED.len()), "its template's token, then text");
}

/// Of a request and a conversation it is a property; the default keeps people's words.
#[test]
fn a_conversation_says_which_it_is() {
    let steered = load(&trio::demo(1.0)).expect("the trio loads");
    let of = |parse_special: bool| {
        let conversation = Conversation { parse_special, ..Conversation::prompt("One<|eos|> <|bos|>two") };
        steered.role(Role::Base, &steered.prompts(&conversation).expect("prompts")).to_vec()
    };
    let count = |tokens: &[Token], token: Token| tokens.iter().filter(|&&other| other == token).count();
    let (parsed, text) = (of(true), of(false));
    assert_eq!((parsed[0], count(&parsed, 0), count(&parsed, 1)), (0, 2, 1), "a text begins with BOS all the same");
    assert_eq!((text[0], count(&text, 0), count(&text, 1)), (0, 1, 0));
    let begun = Conversation { parse_special: true, ..Conversation::prompt("<|bos|>two") };
    let begun = steered.prompts(&begun).expect("prompts");
    assert_eq!(count(begun.sampled(), 0), 1, "and never with two");
    let read: Conversation =
        serde_json::from_str(r#"{"messages": [], "prefix": ""}"#).expect("as it was written before");
    assert!(!read.parse_special);
}
