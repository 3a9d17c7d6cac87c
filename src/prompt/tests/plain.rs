//! Views without a template.

use super::*;

fn plain(conversation: &Conversation) -> Vec<Piece> {
    View::default().render(conversation).expect("plain text takes anything")
}

#[test]
fn a_prompt_is_exactly_its_text() {
    assert_eq!(plain(&Conversation::prompt(" The <s> sky\n")), [Piece::Content(" The <s> sky\n".into())]);
    assert_eq!(plain(&Conversation::prompt("")), []);
}

#[test]
fn what_is_typed_for_the_model_as_it_is_is_told_from_words() {
    let raw = |prompt: &str| Conversation { parse_special: true, ..Conversation::prompt(prompt) };
    assert_eq!(plain(&raw("<|fim_prefix|>a")), [Piece::Raw("<|fim_prefix|>a".into())]);
    let view = View { system: Some("S".into()), prefix: Some("> ".into()), ..View::default() };
    assert_eq!(view.render(&raw("a")).expect("renders"), [Piece::Raw("S\n\n> a".into())]);
}

#[test]
fn turns_are_set_apart_by_an_empty_line_and_answers_follow_directly() {
    for (messages, expected) in [
        (&["system: S", "user: a"][..], "⟨S\n\na⟩"),
        (&["user: a", "assistant: b", "user: c"], "⟨ab\n\nc⟩"),
        (&["user: a", "user: b"], "⟨a\n\nb⟩"),
        (&["assistant: a", "assistant: b"], "⟨a\n\nb⟩"),
        (&["user: a", "system: S", "user: b"], "⟨a\n\nS\n\nb⟩"),
        (&["system: ", "user: a"], "⟨a⟩"),
        (&["system: S"], "⟨S\n\n⟩"),
        (&[], ""),
    ] {
        assert_eq!(shown(&plain(&conversation(messages))), expected);
    }
}

#[test]
fn the_prefix_is_at_the_end_and_generated_answers_keep_their_tokens() {
    let mut talk = generated(&["user: a", "assistant: Sure, b", "user: c"], "Sure, ", &[7, 8]);
    talk.prefix = "Yes".into();
    assert_eq!(
        plain(&talk),
        [Piece::Content("aSure, ".into()), Piece::Tokens(vec![7, 8]), Piece::Content("\n\ncYes".into())]
    );
}

#[test]
fn neighbouring_tokens_are_merged() {
    let mut talk = generated(&["user: a", "assistant: b"], "", &[1]);
    talk.messages.push(talk.messages[1].clone());
    assert_eq!(shown(&plain(&talk)), "⟨a⟩[1]⟨\n\n⟩[1]");
    talk.messages.remove(0);
    assert_eq!(shown(&plain(&talk)), "[1]⟨\n\n⟩[1]");
}

#[test]
fn a_view_has_a_system_message_a_prefix_and_a_prompt_of_its_own() {
    let mut talk = conversation(&["system: S", "user: a", "assistant: b"]);
    talk.prefix = "P".into();
    for (view, expected) in [
        (View { system: Some("T".into()), ..View::default() }, "⟨T\n\nabP⟩"),
        (View { system: Some(String::new()), ..View::default() }, "⟨abP⟩"),
        (View { prefix: Some("> ".into()), ..View::default() }, "⟨S\n\n> abP⟩"),
        (View { prompt: Some("no".into()), ..View::default() }, "⟨S\n\nnoP⟩"),
        (View { prompt: Some(String::new()), ..View::default() }, "⟨S\n\nP⟩"),
        (View { system: Some(String::new()), prompt: Some(String::new()), ..View::default() }, "⟨P⟩"),
        (View { prompt: Some("no".into()), prefix: Some("> ".into()), ..View::default() }, "⟨S\n\n> noP⟩"),
    ] {
        assert_eq!(shown(&view.render(&talk).expect("renders")), expected, "{view:?}");
    }
}
