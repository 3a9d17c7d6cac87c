//! Special tokens by their names: tokens in a prompt that is typed for the model as it is, text everywhere else.

use std::io::Write;

use proxytune::generate::Input;
use proxytune::llama::Token;
use proxytune::prompt::{Conversation, Piece};
use proxytune::recipe::View;
use proxytune::recipe::view::TemplateName;
use proxytune::steer::{Plan, Role, Sampled, SidePlan};

use crate::command_line::json;
use crate::gguf::{Spec, TokenType, Value, byte_tokens};
use crate::trio::{self, file, load, model, plan};

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

/// As llama-server's `/completion` takes it: no template, no system prompt, names of special tokens are tokens.
#[test]
fn a_raw_text_is_the_same_for_every_role() {
    let pairs = [(1.0, model(file("expert")), model(file("antiexpert")))];
    let mut plan = plan("base", &pairs);
    let templated = View { template: Some("model".into()), system: Some("Be brief.".to_owned()), ..View::default() };
    plan.pairs[0].expert = plan.pairs[0].expert.take().map(|side| {
        let template = Some(TemplateName::Source("{% for m in messages %}[{{ m.content }}]{% endfor %}".to_owned()));
        side.seen_as(View { template, ..templated })
    });
    let steered = load(&plan).expect("the trio loads");
    let prompts = |input: &Input| input.prompts(steered.ensemble().loaded(), Sampled::Steered, &[]).expect("prompts");
    let model = steered.model();
    let conversation = prompts(&Input::Conversation(Conversation::prompt("One two")));
    assert_ne!(conversation.lane(1), conversation.lane(0), "the expert has a template");
    let text = prompts(&Input::text("One two"));
    let expected = model.tokenize("One two").expect("tokens");
    for lane in 0..3 {
        assert_eq!(text.lane(lane), expected);
    }
    let named = prompts(&Input::text("One<|eos|>"));
    assert_eq!((named.sampled()[0], named.sampled().last()), (0, Some(&1)));
    assert_eq!(prompts(&Input::text("<|bos|>One")).sampled(), &expected[..2], "BOS stands there once");
    // Text and tokens in order: only a text in front gets BOS.
    let pieces = |pieces: &[Piece]| prompts(&Input::Raw(pieces.to_vec())).sampled().to_vec();
    let (one, two) = (Piece::Raw("One".to_owned()), Piece::Raw(" two".to_owned()));
    let whole = |middle: &[Token]| [&expected[..2], middle, &expected[2..]].concat();
    assert_eq!(pieces(&[one.clone(), Piece::Tokens(vec![40, 50]), two.clone()]), whole(&[40, 50]));
    assert_eq!(pieces(&[Piece::Tokens(vec![40]), two.clone()]), [&[40], &expected[2..]].concat());
    assert_eq!(pieces(&[Piece::Tokens(vec![40, 50])]), [40, 50]);
    assert_eq!(pieces(&[one, two]), expected, "neighbouring texts are one");
    assert_eq!(pieces(&[Piece::Content("<|eos|>".to_owned())]).iter().filter(|&&token| token == 1).count(), 0);
    assert_eq!(prompts(&Input::text("")).sampled(), [0], "nothing but BOS");
}

#[test]
fn a_raw_text_has_each_roles_prefix_and_prompt() {
    let negative = View { prompt: Some("The meeting".to_owned()), ..View::default() };
    let led = View { prefix: Some("Once ".to_owned()), ..View::default() };
    let pair = (1.0, Some(SidePlan::base().seen_as(led)), Some(SidePlan::base().seen_as(negative.clone())));
    let steered = load(&plan("base", &[pair])).expect("it loads");
    let seen = |input: &Input, role: Role, views: &[(Role, View)]| {
        let prompts = input.prompts(steered.ensemble().loaded(), Sampled::Steered, views).expect("prompts");
        steered.role(role, &prompts).to_vec()
    };
    let tokens = |text: &str| steered.model().tokenize(text).expect("tokens");
    let input = Input::text("upon a time");
    assert_eq!(seen(&input, Role::Base, &[]), tokens("upon a time"));
    assert_eq!(seen(&input, Role::Expert(0), &[]), tokens("Once upon a time"));
    assert_eq!(seen(&input, Role::Antiexpert(0), &[]), tokens("The meeting"));
    let asked = View { prompt: Some(String::new()), ..View::default() };
    assert_eq!(seen(&input, Role::Antiexpert(0), &[(Role::Antiexpert(0), asked)]), [0], "no prompt is BOS");
    // Tokens that are a part of a text are under the views; tokens by themselves are not.
    let mixed = Input::Raw(vec![Piece::Tokens(vec![40, 50])]);
    assert_eq!(seen(&mixed, Role::Antiexpert(0), &[]), tokens("The meeting"));
    assert_eq!(seen(&Input::Tokens(vec![40, 50]), Role::Antiexpert(0), &[]), [40, 50]);
}

/// Of a role by itself the tokens are its own, whatever the base calls them.
#[test]
fn tokens_in_a_text_are_by_the_ids_of_the_lane_that_is_sampled_from() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let n = Spec::tiny().tokens.len();
    let order: Vec<_> = (0..n).map(|id| (id * 7) % n).collect();
    let [base, expert] = [(1, None), (2, Some(order))].map(|(seed, order)| {
        let path = folder.path().join(format!("{seed}.gguf"));
        Spec { seed, order, ..Spec::tiny() }.write(&path).expect("writable");
        path
    });
    let plan = Plan { base: trio::source(base).into(), ..plan("base", &[(1.0, model(expert), None)]) };
    let steered = load(&plan).expect("it loads");
    let input = Input::Raw(vec![Piece::Tokens(vec![100, 101]), Piece::Raw("a".to_owned())]);
    let of = |sampled| input.prompts(steered.ensemble().loaded(), sampled, &[]).expect("prompts");
    let (together, alone) = (of(Sampled::Steered), of(Sampled::Alone(Role::Expert(0))));
    assert_eq!((&together.sampled()[..2], &alone.sampled()[..2]), (&[100, 101][..], &[100, 101][..]));
    let lane = &steered.ensemble().lanes()[1];
    let own: Vec<_> = together.sampled().iter().map(|&token| lane.id(token).expect("it has all")).collect();
    assert_eq!(together.lane(1), own);
    assert_eq!(alone.sampled()[2], own[2], "text has the same tokens");
}
