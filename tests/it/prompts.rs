//! What lanes are given: tokens of templates, of people's words, and of earlier answers; what is decoded of them.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use proxytune::generate::Request;
use proxytune::llama::Token;
use proxytune::llama::model::{Model, ModelParams};
use proxytune::prompt::{Conversation, Generated, Message, Piece, Speaker};
use proxytune::recipe::View;
use proxytune::recipe::view::TemplateName;
use proxytune::sampling::Sampling;
use proxytune::steer::{Plan, Role, Sampled, SidePlan, Texts};

use crate::gguf::{Spec, TokenType, Value};
use crate::trio::{Steered, backend, demo, file, load};

/// Messages between marks, all of them new each time one is added.
const RENDERS_HISTORY_ANEW: &str =
    "{% for m in messages %}[{{ m.role }} {{ loop.revindex }}] {{ m.content }}\n{% endfor %}[assistant 0]";
/// Messages between control tokens, one behind the other.
const APPENDS: &str = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}\
                       {% if add_generation_prompt %}assistant: {% endif %}";

fn template(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("writable");
    file
}

fn model(path: &Path) -> Arc<Model> {
    proxytune::llama::log::capture(false);
    Arc::new(Model::load(&backend(), path, &ModelParams::default(), |_| true).expect("it loads"))
}

fn pieces(model: &Model, pieces: &[Piece]) -> Vec<Token> {
    model.tokenize_pieces(pieces).expect("tokens")
}

fn text(text: &str) -> Piece {
    Piece::Content(text.to_owned())
}

fn marked(text: &str) -> Piece {
    Piece::Template(text.to_owned())
}

#[test]
fn names_of_control_tokens_are_tokens_in_templates_and_text_in_texts() {
    let model = model(&file("base"));
    let (bos, eos) = (0, 1);
    let by_hand = |before: &str, after: &str| {
        let mut tokens = model.tokenize(before).expect("tokens");
        tokens.push(eos);
        tokens.extend(&model.tokenize(after).expect("tokens")[1..]);
        tokens
    };
    assert_eq!(model.leading_bos(), Some(bos));
    assert_eq!(pieces(&model, &[marked("One<|eos|>\nTwo")]), by_hand("One", "\nTwo"));
    let typed = pieces(&model, &[text("One<|eos|>\nTwo")]);
    assert_eq!(typed, model.tokenize("One<|eos|>\nTwo").expect("tokens"));
    assert!(typed.len() > 6 && !typed.contains(&eos));
    // Both in one text, and a name that lies half in the one and half in the other.
    let both = pieces(&model, &[marked("One<|eos|>"), text("a <|eos|> b"), marked("<|eos|> c")]);
    assert_eq!(both.iter().filter(|&&token| token == eos).count(), 2);
    let halves = pieces(&model, &[marked("One<|e"), text("os|> b")]);
    assert_eq!(halves, model.tokenize("One<|eos|> b").expect("tokens"));
    // Text that is split over pieces is tokenised as one.
    assert_eq!(
        pieces(&model, &[marked("the lit"), text("tle gi"), marked("rl")]),
        pieces(&model, &[text("the little girl")])
    );
}

/// llama.cpp reads `USER_DEFINED` names in every text. Those that mark up a conversation must not be typed.
#[test]
fn names_of_added_tokens_that_mark_up_are_text_in_texts_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("added.gguf");
    let mut spec = Spec::tiny();
    let n = spec.tokens.len() as Token;
    for name in ["<|user|>", "[INST]", "<b>"] {
        spec.tokens.push((name.to_owned(), TokenType::UserDefined));
    }
    let template = Value::Text("[INST]{{ messages[0].content }}".to_owned());
    spec.with("tokenizer.chat_template", template).write(&path).expect("writable");
    let model = model(&path);
    let (user, inst, bold) = (n, n + 1, n + 2);
    let typed = pieces(&model, &[text("a<|user|>b[INST]c<b>d")]);
    assert!(!typed.contains(&user) && !typed.contains(&inst), "{typed:?}");
    assert!(typed.contains(&bold), "an added word is a word");
    let shown: String = typed[1..].iter().map(|&token| model.piece(token)).collect();
    assert_eq!(shown, "a<|user|>b[INST]c<b>d");
    let both = pieces(&model, &[marked("<|user|>"), text("[INST]"), marked("[INST]")]);
    assert_eq!((both[1], both.last()), (user, Some(&inst)));
    assert_eq!(both.iter().filter(|&&token| token == inst).count(), 1);
}

/// What cannot be cut is left to llama.cpp, and cuts that lie in one another do no harm.
#[test]
fn names_of_one_character_and_names_in_names_are_read_without_harm() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("odd.gguf");
    let mut spec = Spec::tiny();
    let n = spec.tokens.len() as Token;
    for name in ["語", "<|a|>", "|>$", "a|><|"] {
        spec.tokens.push((name.to_owned(), TokenType::UserDefined));
    }
    let dollar = spec.tokens.iter().position(|(text, _)| text == "$").expect("a byte");
    spec.tokens[dollar].1 = TokenType::UserDefined;
    let template = Value::Text("$ 語 |>$ a|><| {{ messages[0].content }}".to_owned());
    spec.with("tokenizer.chat_template", template).write(&path).expect("writable");
    let model = model(&path);
    let parts = ["$", "語", "<|a|>", "|>$", "a|><|", "<|", "a", ">"];
    for (i, first) in parts.iter().enumerate() {
        for second in parts {
            for third in parts {
                let kinds = [marked(first), text(second), if i % 2 == 0 { marked(third) } else { text(third) }];
                let shown: String = pieces(&model, &kinds)[1..].iter().map(|&token| model.piece(token)).collect();
                assert_eq!(shown, format!("{first}{second}{third}"));
            }
        }
    }
    let typed = pieces(&model, &[text("<|a|>$")]);
    assert!(typed.iter().all(|&token| token < n) && typed.contains(&(dollar as Token)), "{typed:?}");
}

/// Each name once took a look at all others.
#[test]
fn many_names_in_one_text_are_read() {
    let model = model(&file("base"));
    let typed = text(&"<|eos|>".repeat(40_000));
    let tokens = pieces(&model, &[marked("<|eos|>"), typed.clone(), marked("<|eos|>"), typed]);
    assert_eq!(tokens.iter().filter(|&&token| token == 1).count(), 2);
    let template = pieces(&model, &[marked(&"<|eos|>".repeat(40_000))]);
    assert_eq!(template.len(), 40_001);
    let both: Vec<_> = (0..4_000).flat_map(|_| [marked("<|eos|>"), text("<|eos|>")]).collect();
    assert_eq!(pieces(&model, &both).iter().filter(|&&token| token == 1).count(), 4_000);
}

#[test]
fn the_first_token_stands_in_front_exactly_once() {
    let model = model(&file("base"));
    let expected = model.tokenize("Once").expect("tokens");
    for of in [vec![text("Once")], vec![marked("<|bos|>Once")], vec![marked("<|bos|>"), text("Once")]] {
        assert_eq!(pieces(&model, &of), expected, "{of:?}");
    }
    assert_eq!(pieces(&model, &[]), [0]);
    assert_eq!(pieces(&model, &[Piece::Tokens(vec![7, 8])]), [0, 7, 8]);
    let late = pieces(&model, &[marked("\n<|bos|>"), text("Once")]);
    assert_eq!(late.iter().filter(|&&token| token == 0).count(), 1, "{late:?}");
    // A person who types its name has typed a text.
    let typed = pieces(&model, &[text("<|bos|>Once")]);
    assert_eq!(typed, model.tokenize("<|bos|>Once").expect("tokens"));
    assert!(typed.len() > expected.len());
}

/// SentencePiece puts a space in front of a text, and must not put one in the middle.
#[test]
fn a_text_behind_an_answer_begins_without_a_space_of_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("spm.gguf");
    let spec = Spec::sentence_piece();
    spec.with("tokenizer.ggml.add_space_prefix", Value::Bool(true)).write(&path).expect("writable");
    let model = model(&path);
    let whole = model.tokenize("ab cd\n\nef").expect("tokens");
    let n = model.tokenize("ab cd").expect("tokens").len();
    let (answer, rest) = whole.split_at(n);
    assert_eq!(pieces(&model, &[Piece::Tokens(answer[1..].to_vec()), text("\n\nef")])[n..], *rest);
    // Behind a control token it is llama.cpp's own.
    let eos = whole[0] + 1;
    let behind = pieces(&model, &[Piece::Tokens(vec![5, eos]), text("ef")]);
    assert_eq!(behind[3..], model.tokenize("ef").expect("tokens")[1..]);
}

/// The trio with an expert that sees a template.
fn with_template(file: &tempfile::NamedTempFile) -> Plan {
    let mut plan = demo(0.5);
    plan.contexts_mut().for_each(|context| context.n_ctx = 512);
    let view = View { template: Some(TemplateName::File(file.path().to_path_buf())), ..View::default() };
    plan.pairs[0].expert.as_mut().expect("an expert").view = view;
    plan
}

/// Answers a conversation, and adds the answer to it; tokens that each role had to read.
fn turn(steered: &mut Steered, conversation: &mut Conversation, n_predict: usize) -> Vec<(Role, usize)> {
    turn_of(steered, Sampled::Steered, conversation, n_predict)
}

fn turn_of(
    steered: &mut Steered,
    sampled: Sampled,
    conversation: &mut Conversation,
    n_predict: usize,
) -> Vec<(Role, usize)> {
    let mut request = Request { sampled, n_predict: Some(n_predict), ..Request::of(conversation.clone()) };
    request.sampling = Sampling { ignore_eos: true, ..Sampling::greedy() };
    let answer = steered.run(&request);
    assert_eq!(answer.failure, None);
    let generated = Some(Generated { prefix: conversation.prefix.clone(), tokens: answer.tokens });
    let text = conversation.prefix.clone() + &answer.text;
    conversation.messages.push(Message { generated, ..Message::new(Speaker::Assistant, text) });
    answer.timings.into_iter().map(|(role, timing)| (role, timing.n_prompt)).collect()
}

fn user(text: &str) -> Message {
    Message::new(Speaker::User, text)
}

#[test]
fn a_second_turn_decodes_what_is_new_on_each_lane() {
    const ROLES: [Role; 3] = [Role::Base, Role::Expert(0), Role::Antiexpert(0)];
    for (text, is_anew) in [(APPENDS, false), (RENDERS_HISTORY_ANEW, true)] {
        let file = template(text);
        let mut steered = load(&with_template(&file)).expect("the trio loads");
        let mut conversation = Conversation::prompt("One morning the boy went to the river and");
        let first = steered.prompts(&conversation).expect("prompts");
        let n_read = turn(&mut steered, &mut conversation, 12);
        assert_eq!(n_read, ROLES.map(|role| (role, steered.role(role, &first).len())));
        let generated = conversation.messages[1].generated.as_ref().expect("an answer").tokens.clone();

        conversation.messages.push(user("Then he saw a dog."));
        let second = steered.prompts(&conversation).expect("prompts");
        let expected = ROLES.map(|role| {
            // Every lane holds its prompt and the answer but for the last token, which nothing followed.
            let mut held = steered.role(role, &first).to_vec();
            held.extend(&generated[..generated.len() - 1]);
            let prompt = steered.role(role, &second);
            let n_same = held.iter().zip(prompt).take_while(|(a, b)| a == b).count();
            prompt.len() - n_same
        });
        let n_read = turn(&mut steered, &mut conversation, 12);
        assert_eq!(n_read.into_iter().map(|(_, n)| n).collect::<Vec<_>>(), expected, "{text}");
        // The lanes in plain text go on where they were: the last token, a blank line and the message.
        let message = steered.model().tokenize("\n\nThen he saw a dog.").expect("tokens").len() - 1;
        assert_eq!((expected[0], expected[2]), (1 + message, 1 + message));
        let expert = steered.role(ROLES[1], &second);
        assert_eq!(expected[1] > expert.len() / 2, is_anew, "{} of {}", expected[1], expert.len());
        // The answer's tokens are in the prompt as they were generated, on every lane.
        for role in ROLES {
            let prompt = steered.role(role, &second);
            assert!(prompt.windows(generated.len()).any(|window| window == generated), "{role}");
        }
    }
}

#[test]
fn what_is_kept_between_turns_changes_no_row() {
    let file = template(APPENDS);
    let mut steered = load(&with_template(&file)).expect("the trio loads");
    let mut conversation = Conversation::prompt("One morning the boy went to the river and");
    turn(&mut steered, &mut conversation, 12);
    conversation.messages.push(user("Then he saw a dog."));
    let prompts = steered.prompts(&conversation).expect("prompts");
    let mut rows = [Vec::new(), Vec::new()];
    let [kept, anew] = &mut rows;
    // The row behind the prompt is the first position's, of what is kept and of what is read anew.
    let n_vocab = steered.model().n_vocab();
    let request = Request { n_probs: Some(n_vocab), n_predict: Some(1), ..Request::of(conversation.clone()) };
    for row in [kept, anew] {
        let top = &steered.run(&request).positions[0].top;
        let mut logprobs: Vec<_> =
            top.iter().map(|entry| (entry.id, entry.composed.expect("no token is forbidden") as f32)).collect();
        logprobs.sort_by_key(|(id, _)| *id);
        row.extend(logprobs.into_iter().map(|(_, logprob)| logprob));
        steered.engine.forget();
    }
    assert!(prompts.sampled().len() > 20);
    let furthest = rows[0].iter().zip(&rows[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Batches of another shape round differently.
    assert!(furthest < 0.25, "{furthest}");
}

#[test]
fn the_answer_starts_with_the_response_prefix_on_every_lane() {
    let file = template(APPENDS);
    let mut steered = load(&with_template(&file)).expect("the trio loads");
    let conversation = Conversation { prefix: "Well, my <|eos|>".to_owned(), ..Conversation::prompt("Hello") };
    let prompts = steered.prompts(&conversation).expect("prompts");
    let model = steered.model();
    let shown = |role| {
        let mut bytes = Vec::new();
        for &token in steered.role(role, &prompts) {
            model.append_piece(token, &mut bytes).expect("a token");
        }
        String::from_utf8(bytes).expect("UTF-8")
    };
    assert_eq!(shown(Role::Base), "HelloWell, my <|eos|>");
    assert_eq!(shown(Role::Expert(0)), "user: Hello\nassistant: Well, my <|eos|>");
    let mut conversation = conversation;
    turn(&mut steered, &mut conversation, 4);
    assert!(conversation.messages[1].text.starts_with("Well, my <|eos|>"));
    // And in the next turn it is part of what was said.
    conversation.messages.push(user("Go on."));
    let prompts = steered.prompts(&conversation).expect("prompts");
    let answer = &conversation.messages[1].generated.as_ref().expect("generated").tokens;
    assert!(steered.role(Role::Expert(0), &prompts).windows(4).any(|window| window == answer));
}

#[test]
fn the_base_alone_answers_on_a_copy_and_leaves_no_trace() {
    let plan = Plan { texts: Texts::sharing(2, 1), ..demo(1.0) };
    let mut steered = load(&plan).expect("the trio loads");
    let mut conversation = Conversation::prompt("One morning the boy went to the river and");
    turn(&mut steered, &mut conversation, 16);
    let question = Conversation { messages: vec![conversation.messages[0].clone()], ..Conversation::default() };
    let base = Sampled::Alone(Role::Base);
    let mut asked = question.clone();
    let n_read = turn_of(&mut steered, base, &mut asked, 16);
    assert_eq!(n_read, [(Role::Base, 1)], "the prompt is there already, but for the row behind its last token");
    let mut again = question.clone();
    assert_eq!(turn_of(&mut steered, base, &mut again, 16), [(Role::Base, 1)]);
    assert_eq!(again, asked);
    // The conversation goes on where it was.
    conversation.messages.push(user(" Then"));
    let n_read = turn(&mut steered, &mut conversation, 4);
    assert!(n_read.iter().all(|(_, n)| *n < 8), "{n_read:?}");
    let mut alone = load(&crate::trio::plan("base", &[])).expect("the base loads");
    let mut expected = question.clone();
    turn(&mut alone, &mut expected, 16);
    assert_eq!(asked.messages[1].text, expected.messages[1].text);
    assert_ne!(asked.messages[1].text, conversation.messages[1].text);
}

#[test]
fn views_that_cannot_be_are_refused_before_anything_is_loaded() {
    let bad = template("{% for m in messages %}");
    let cases = [
        (TemplateName::Model, "expert: ", "has no chat template"),
        (TemplateName::Expert, "expert: ", "there is no other expert"),
        (TemplateName::File("/no/such.jinja".into()), "expert: ", "cannot read /no/such.jinja"),
        (TemplateName::File(bad.path().to_path_buf()), "expert: ", "the chat template is not valid"),
        (TemplateName::File(file("antiexpert")), "expert: ", "has no chat template"),
    ];
    for (template, role, words) in cases {
        let mut plan = demo(1.0);
        plan.pairs[0].expert.as_mut().expect("an expert").view.template = Some(template);
        let error = plan.check().expect_err(words).to_string();
        assert!(error.starts_with(role) && error.contains(words), "{error}");
    }
    let mut plan = crate::trio::plan("base", &[]);
    plan.view.template = Some(TemplateName::Expert);
    assert!(plan.check().expect_err("no expert").to_string().contains("there is no other expert"));
}

/// Whatever the base's file holds: a side that is the base sees what the base sees.
#[test]
fn a_side_that_is_the_base_has_its_view() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("chat.gguf");
    let own = Value::Text("<{{ messages[0].content if messages else '' }}>".to_owned());
    Spec::tiny().with("tokenizer.chat_template", own).write(&path).expect("writable");
    let none = View { prompt: Some(String::new()), ..View::default() };
    let pair = (0.5, Some(SidePlan::base()), Some(SidePlan::base().seen_as(none)));
    let mut plan = crate::trio::plan("base", &[pair]);
    plan.base = crate::trio::source(&path).into();
    for (template, n_prompt) in [(None, [3, 3, 1]), (Some(TemplateName::Model), [5, 5, 3])] {
        plan.view.template = template;
        let steered = load(&plan).expect("it loads");
        let prompts = steered.tokenize("Hi").expect("prompts");
        let lens = [Role::Base, Role::Expert(0), Role::Antiexpert(0)].map(|role| steered.role(role, &prompts).len());
        assert_eq!((lens, steered.roles().len()), (n_prompt, 2));
    }
}

#[test]
fn an_expert_sees_the_template_of_its_file_and_the_others_plain_text() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, spec: &Spec| {
        let path = folder.path().join(name).with_extension("gguf");
        spec.write(&path).expect("writable");
        path
    };
    let own = Value::Text("{{ bos_token }}<{{ messages[0].content }}>".to_owned());
    let [base, tuned, small] = [
        write("base", &Spec::tiny()),
        write("tuned", &Spec { seed: 1, ..Spec::tiny() }.with("tokenizer.chat_template", own)),
        write("small", &Spec { seed: 2, ..Spec::tiny() }),
    ];
    let pair = (1.0, crate::trio::model(&tuned), crate::trio::model(&small));
    let mut plan = crate::trio::plan("base", &[pair]);
    plan.base = crate::trio::source(&base).into();
    let shown = |plan: &Plan| {
        let steered = load(plan).expect("it loads");
        let prompts = steered.tokenize("Hi").expect("prompts");
        [Role::Base, Role::Expert(0), Role::Antiexpert(0)].map(|role| {
            let model = steered.ensemble().model(steered.ensemble().lane(role).expect("a lane"));
            steered.role(role, &prompts).iter().map(|&token| model.piece(token)).collect::<String>()
        })
    };
    assert_eq!(shown(&plan), ["<|bos|>Hi", "<|bos|><Hi>", "<|bos|>Hi"]);
    // What the expert sees, the others may see too; and none has to.
    plan.view.template = Some(TemplateName::Expert);
    plan.pairs[0].antiexpert.as_mut().expect("an antiexpert").view.template = Some(TemplateName::Expert);
    assert_eq!(shown(&plan), ["<|bos|><Hi>"; 3]);
    plan.pairs[0].expert.as_mut().expect("an expert").view.template = Some(TemplateName::Plain);
    assert_eq!(shown(&plan), ["<|bos|>Hi"; 3]);
    plan.view.template = Some(TemplateName::File(tuned));
    assert_eq!(shown(&plan)[0], "<|bos|><Hi>");
}

/// Templates that go by llama.cpp's names write what llama.cpp writes.
#[test]
fn built_in_templates_write_what_llama_cpps_do() {
    use llama_cpp_2::model::params::LlamaModelParams;
    use llama_cpp_2::model::{LlamaChatMessage, LlamaChatTemplate, LlamaModel};
    use proxytune::prompt::Template;
    use proxytune::recipe::builtin::BuiltIn;

    let backend = backend();
    proxytune::llama::log::capture(false);
    let params = LlamaModelParams::default().with_vocab_only(true);
    let model = LlamaModel::load_from_file(&backend, file("base"), &params).expect("it loads");
    let system = ("system", "  Be brief. ");
    let turns = [("user", "One\ntwo "), ("assistant", " Three"), ("user", "Four?")];
    for messages in [turns.to_vec(), vec![system, turns[0]], [&[system][..], &turns].concat()] {
        for template in BuiltIn::ALL {
            let name = template.name();
            let theirs: Vec<_> = messages
                .iter()
                .map(|(role, text)| LlamaChatMessage::new((*role).to_owned(), (*text).to_owned()).expect("no NUL"))
                .collect();
            let theirs = model.apply_chat_template(&LlamaChatTemplate::new(name).expect("no NUL"), &theirs, true);
            let speaker = |role: &str| match role {
                "system" => Speaker::System,
                "user" => Speaker::User,
                _ => Speaker::Assistant,
            };
            let ours = messages.iter().map(|(role, text)| Message::new(speaker(role), *text)).collect();
            let conversation = Conversation { messages: ours, ..Conversation::default() };
            let view = proxytune::prompt::View {
                template: Some(Arc::new(Template::new(template.source(), "", "").expect("it compiles"))),
                ..Default::default()
            };
            let written: String = view
                .render(&conversation)
                .expect("it renders")
                .iter()
                .map(|piece| match piece {
                    Piece::Template(text) | Piece::Content(text) => text.as_str(),
                    Piece::Raw(_) | Piece::Tokens(_) => panic!("there is nothing but messages"),
                })
                .collect();
            assert_eq!(written, theirs.expect("it has one of this name"), "{name}");
        }
    }
}
