//! What can be asked beside the texts, and what is told of an engine.

use std::sync::mpsc::channel;

use proxytune::engine::{Desk, Engine, Handle, Question, Reply, Settings, State};
use proxytune::generate::event::Kind;
use proxytune::generate::{Event, Input, Request};
use proxytune::llama::Token;
use proxytune::prompt::{Conversation, Message, Speaker};
use proxytune::recipe::{Schedule, View};
use proxytune::steer::{Ensemble, Loaded, Models, PairPlan, Plan, Role, Sampled, SidePlan, Texts};

use crate::engine::unending;
use crate::gguf::{Spec, Value, byte_tokens};
use crate::trio::{PROMPT, backend, demo, greedy, load, plan, source};

fn loaded(plan: &Plan, models: &mut Models) -> Loaded {
    let facts = plan.check().expect("well-formed");
    Loaded::of(&backend(), plan, &facts, models, &mut |_, _, _| true).expect("it loads")
}

fn desk(plan: &Plan) -> Desk {
    Desk::new(vec![loaded(plan, &mut Models::default())])
}

fn tokenise(text: &str, add_special: bool, parse_special: bool) -> Question {
    Question::Tokenise { ensemble: 0, role: Role::Base, text: text.to_owned(), add_special, parse_special }
}

fn tokens(reply: Reply) -> Vec<(Token, Vec<u8>)> {
    let Reply::Tokens(tokens) = reply else { panic!("{reply:?}") };
    tokens.into_iter().map(|token| (token.id, token.bytes)).collect()
}

#[test]
fn texts_become_tokens_and_come_back() {
    let desk = desk(&demo(1.0));
    for text in ["", PROMPT, "naïve “ж漢😀”\n\n  x\t"] {
        let tokens = tokens(desk.answer(&tokenise(text, false, false)).expect("tokens"));
        let bytes: Vec<u8> = tokens.iter().flat_map(|(_, bytes)| bytes).copied().collect();
        assert_eq!(String::from_utf8_lossy(&bytes), text);
        let tokens = tokens.into_iter().map(|(id, _)| id).collect();
        let question = Question::Detokenise { ensemble: 0, role: Role::Base, tokens };
        assert_eq!(desk.answer(&question), Ok(Reply::Text(text.to_owned())));
    }
}

/// A model with BOS, EOS and a control token in the middle.
fn with_control(folder: &std::path::Path) -> Plan {
    let path = folder.join("model.gguf");
    let spec = Spec::tiny().with("tokenizer.chat_template", Value::Text("{{ messages[0].content }}|".to_owned()));
    spec.write(&path).expect("writable");
    Plan::alone(source(path))
}

#[test]
fn names_of_control_tokens_are_tokens_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = desk(&with_control(folder.path()));
    let names = byte_tokens(Spec::tiny().tokens.len());
    let about = &desk.about()[0];
    let bos = about.bos.clone().expect("it has one");
    assert_eq!(names[bos.id as usize].0, bos.text);
    let text = format!("a{}b", bos.text);
    let plain = tokens(desk.answer(&tokenise(&text, false, false)).expect("tokens"));
    assert!(plain.iter().all(|(id, _)| *id != bos.id), "{plain:?}");
    let parsed = tokens(desk.answer(&tokenise(&text, false, true)).expect("tokens"));
    assert_eq!(parsed.iter().filter(|(id, _)| *id == bos.id).count(), 1);
    assert!(parsed.contains(&(bos.id, bos.text.clone().into_bytes())), "a control token is spelled by its name");
    let special = tokens(desk.answer(&tokenise("a", true, false)).expect("tokens"));
    assert_eq!(special[0].0 == bos.id, about.starts_with_bos);
}

#[test]
fn prompts_are_those_that_a_text_starts_with() {
    let plan = demo(1.0);
    let desk = desk(&plan);
    let view = View { system: Some("Be brief.".to_owned()), ..View::default() };
    let mut steered = load(&plan).expect("it loads");
    for request in [
        Request::prompt(PROMPT),
        Request { sampled: Sampled::Alone(Role::Expert(0)), ..Request::prompt(PROMPT) },
        Request { input: Input::Tokens(vec![5, 6, 7]), ..Request::default() },
        Request { views: vec![(Role::Antiexpert(0), view)], ..Request::prompt(PROMPT) },
    ] {
        let Request { sampled, input, views, .. } = request.clone();
        let given = desk.answer(&Question::Prompt { ensemble: 0, sampled, input, views });
        let answer = steered.run(&Request { n_predict: Some(0), sampling: greedy(0).sampling, ..request });
        assert_eq!(answer.failure, None);
        assert_eq!(
            given,
            Ok(Reply::Prompts(answer.started.prompts.into_iter().map(|of| (of.role, of.tokens)).collect()))
        );
    }
}

#[test]
fn a_conversation_is_rendered_as_a_role_sees_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = with_control(folder.path());
    let expert = own.base.source().expect("a file").clone();
    let pair = PairPlan { expert: Some(expert.into()), ..PairPlan::default() };
    let desk = desk(&Plan { pairs: vec![pair], ..own });
    let conversation = Conversation::prompt("x");
    let render = |role| {
        let conversation = conversation.clone();
        desk.answer(&Question::Render { ensemble: 0, sampled: Sampled::Steered, role, conversation })
    };
    assert_eq!(render(Role::Base), Ok(Reply::Text("x".to_owned())));
    assert_eq!(render(Role::Expert(0)), Ok(Reply::Text("x|".to_owned())));
    assert_eq!(render(Role::Antiexpert(0)).expect_err("there is none").kind, Kind::Request);
    let about = &desk.about()[0];
    let roles: Vec<_> = about.roles.iter().map(|about| (about.role, about.template.is_some())).collect();
    assert_eq!(roles, [(Role::Base, false), (Role::Expert(0), true)]);
    assert!(about.roles.iter().all(|about| about.own_template.is_some() && about.file == "model.gguf"), "{about:?}");
}

#[test]
fn an_answer_that_was_generated_is_rendered_from_its_tokens() {
    let desk = desk(&demo(1.0));
    let answer = tokens(desk.answer(&tokenise(" Yes.", false, false)).expect("tokens"));
    let generated =
        proxytune::prompt::Generated { prefix: String::new(), tokens: answer.into_iter().map(|(id, _)| id).collect() };
    let answer = Message { generated: Some(generated), ..Message::new(Speaker::Assistant, " Yes.") };
    let messages = vec![Message::new(Speaker::User, "Well?"), answer, Message::new(Speaker::User, "Why?")];
    let conversation = Conversation { messages, ..Conversation::default() };
    let question = Question::Render { ensemble: 0, sampled: Sampled::Steered, role: Role::Base, conversation };
    assert_eq!(desk.answer(&question), Ok(Reply::Text("Well? Yes.\n\nWhy?".to_owned())));
}

#[test]
fn questions_that_have_no_answer_say_why() {
    let desk = desk(&demo(1.0));
    let ask = |question: Question| desk.answer(&question).expect_err("no answer");
    let none = ask(Question::Detokenise { ensemble: 3, role: Role::Base, tokens: Vec::new() });
    assert!(none.kind == Kind::Request && none.message.contains("no ensemble 3"), "{none}");
    let role = ask(Question::Detokenise { ensemble: 0, role: Role::Expert(4), tokens: Vec::new() });
    assert_eq!(role.kind, Kind::Request);
    for token in [-1, 1 << 30] {
        let range = ask(Question::Detokenise { ensemble: 0, role: Role::Base, tokens: vec![token] });
        assert_eq!(range.kind, Kind::Request, "{range}");
    }
}

#[test]
fn facts_are_those_of_the_models() {
    let desk = desk(&Plan { texts: Texts::apart(3), ..demo(0.7) });
    let about = desk.about().remove(0);
    assert_eq!((about.n_ctx, about.alphas.as_slice()), (256, &[Schedule::constant(0.7)][..]));
    let files: Vec<_> = about.roles.iter().map(|about| (about.role.to_string(), about.file.as_str())).collect();
    let expected = [("base", "base.gguf"), ("expert", "expert.gguf"), ("antiexpert", "antiexpert.gguf")];
    assert_eq!(files, expected.map(|(role, file)| (role.to_owned(), file)));
    assert_eq!(about.n_params, about.roles.iter().map(|about| about.n_params).sum::<u64>());
    assert_eq!(about.base().map(|base| base.n_vocab), Some(about.n_vocab));
    assert!(about.eos.as_ref().is_some_and(|eos| about.eog.contains(&eos.id)), "{about:?}");
    let json = serde_json::to_string(&about).expect("JSON");
    assert_eq!(serde_json::from_str::<proxytune::engine::About>(&json).expect("facts"), about);
    // One model under two prompts is counted once.
    let view = View { prompt: Some(String::new()), ..View::default() };
    let guided = plan("base", &[(1.0, Some(SidePlan::base()), Some(SidePlan::base().seen_as(view)))]);
    let guided = self::desk(&guided).about().remove(0);
    assert_eq!(guided.n_params, about.roles[0].n_params);
}

/// Guidance beside the trio: the contexts of its ensemble are opened for the first request.
#[test]
fn an_ensemble_is_opened_for_its_first_request() {
    let view = View { prompt: Some("The meeting was".to_owned()), ..View::default() };
    let guided = plan("base", &[(0.5, Some(SidePlan::base()), Some(SidePlan::base().seen_as(view)))]);
    let mut models = Models::default();
    let texts = Plan { texts: Texts::apart(2), ..demo(1.0) };
    let ensemble = Ensemble::load(&backend(), &texts, &mut models, &mut |_, _, _| true).expect("it loads");
    let mut engine = Engine::new(ensemble, Settings { n_slots: 2, ..Settings::default() });
    assert_eq!(engine.add_lazy(loaded(&guided, &mut models)), 1);
    // One whose contexts nobody can open.
    let mut vast = guided.clone();
    vast.contexts_mut().for_each(|context| context.n_ctx = 1 << 24);
    assert_eq!(engine.add_lazy(loaded(&vast, &mut models)), 2);
    assert_eq!(models.n_loaded(), 3, "nothing is loaded twice");
    let handle = Handle::spawn(engine).expect("a thread");
    let State::Ready(about) = handle.health().state else { panic!("{handle:?}") };
    assert_eq!(about.iter().map(|about| about.roles.len()).collect::<Vec<_>>(), [3, 3, 3]);
    let input = Request::prompt(PROMPT).input;
    let question = Question::Prompt { ensemble: 1, sampled: Sampled::Steered, input: input.clone(), views: Vec::new() };
    let Ok(Reply::Prompts(prompts)) = handle.ask(question) else { panic!("no prompts") };
    assert_eq!(prompts.len(), 3);

    let request = Request { input, ..greedy(8) };
    let expected = load(&guided).expect("it loads").run(&request);
    // The ensemble has room for one text, the engine for two: the second waits.
    let running = [1, 1].map(|ensemble| handle.submit_to(ensemble, request.clone()).expect("it is taken in"));
    for running in running {
        let mut answer = proxytune::generate::Answer::default();
        running.for_each(|event| drop(answer.add(event)));
        assert_eq!((answer.failure, answer.tokens), (None, expected.tokens.clone()));
    }
    let last = handle.submit_to(2, request.clone()).expect("it is sent").last();
    let Some(Event::Failed(failed)) = last else { panic!("{last:?}") };
    assert_eq!(failed.failure.kind, Kind::Internal, "{}", failed.failure);
    assert!(matches!(handle.submit(request).expect("it is sent").last(), Some(Event::Done(_))), "the others go on");
}

#[test]
fn slots_are_told_of_while_texts_run() {
    let ensemble = Ensemble::load(&backend(), &demo(1.0), &mut Models::default(), &mut |_, _, _| true);
    let handle = Handle::spawn(Engine::new(ensemble.expect("it loads"), Settings::default())).expect("a thread");
    let (sender, events) = channel();
    let endless = Request { sampling: unending(), ..Request::prompt(PROMPT) };
    let id = handle.submit_with(0, endless, Box::new(move |event| sender.send(event).is_ok())).expect("it is taken in");
    // The third token is told behind a tick, whose end wrote the second one down.
    let n_prompt = events.iter().find_map(|event| match event {
        Event::Started(started) => Some(started.n_prompt),
        _ => None,
    });
    let mut of_tokens = events.iter().filter(|event| matches!(event, Event::Token(_)));
    for _ in 0..3 {
        of_tokens.next().expect("a token");
    }
    let slots = handle.health().slots;
    let [slot] = &slots[..] else { panic!("{slots:?}") };
    assert_eq!((slot.id, slot.ensemble, Some(slot.n_prompt)), (id, 0, n_prompt));
    assert!(slot.is_writing && slot.n_decoded >= 1 && slot.n_prompt_read == slot.n_prompt, "{slot:?}");
    handle.cancel(id);
    assert!(of_tokens.next().is_none() || of_tokens.count() < 256, "it ends");
    assert_eq!(handle.health().state, State::Ready(handle.wait().expect("it is there")));
    handle.kill();
    assert!(handle.health().has_ended && handle.wait().is_err());
    let refused = handle.submit(Request::prompt(PROMPT)).expect_err("it has ended");
    assert!(refused.message.contains("has ended"), "{refused}");
}
