//! Views of whole conversations.

mod answers;
mod constructs;
mod formats;
mod hostile;
mod plain;
mod properties;
mod published;
mod system;
mod tools;

use std::sync::Arc;

use super::{Conversation, Error, Generated, Message, Piece, Speaker, Template, View};

/// A conversation whose messages are written `"system: …"`, `"user: …"` or `"assistant: …"`.
fn conversation(messages: &[&str]) -> Conversation {
    let message = |line: &&str| {
        let (speaker, text) = line.split_once(": ").expect("a speaker and a text");
        let speaker = match speaker {
            "system" => Speaker::System,
            "user" => Speaker::User,
            _ => Speaker::Assistant,
        };
        Message::new(speaker, text)
    };
    Conversation { messages: messages.iter().map(message).collect(), ..Conversation::default() }
}

/// The same with the last answer generated, behind `prefix`.
fn generated(messages: &[&str], prefix: &str, tokens: &[i32]) -> Conversation {
    let mut conversation = conversation(messages);
    let answer = conversation.messages.iter_mut().rfind(|message| message.speaker == Speaker::Assistant);
    answer.expect("an answer").generated = Some(Generated { prefix: prefix.to_owned(), tokens: tokens.to_vec() });
    conversation
}

fn template(source: &str) -> Template {
    Template::new(source, "<s>", "</s>").expect("valid")
}

fn view(source: &str) -> View {
    View { template: Some(Arc::new(template(source))), ..View::default() }
}

fn render(source: &str, messages: &[&str]) -> Result<Vec<Piece>, Error> {
    view(source).render(&conversation(messages))
}

/// The pieces as one text, with content in ⟨⟩ and tokens in [].
fn shown(pieces: &[Piece]) -> String {
    let show = |piece: &Piece| match piece {
        Piece::Template(text) => text.clone(),
        Piece::Content(text) => format!("⟨{text}⟩"),
        Piece::Raw(text) => format!("«{text}»"),
        Piece::Tokens(tokens) => format!("{tokens:?}"),
    };
    pieces.iter().map(show).collect()
}

#[track_caller]
fn check(source: &str, messages: &[&str], expected: &str) {
    assert_eq!(shown(&render(source, messages).expect("renders")), expected);
}
