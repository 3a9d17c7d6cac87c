//! Any source as a chat template, over any conversation: a text or an error in words, the same both times, and never a
//! mark in it. What people write comes out whole, as content, where a template writes it.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use proxytune_fuzz::prompt::{Conversation, Error, Message, Piece, Speaker, Template, View};

/// Parts of the input end at this byte.
const END: u8 = 1;
const PLAIN: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}";

fn render(source: &str, conversation: &Conversation) -> Result<Vec<Piece>, Error> {
    let template = Template::new(source, "<s>", "</s>")?;
    View { template: Some(Arc::new(template)), ..View::default() }.render(conversation)
}

fuzz_target!(|bytes: &[u8]| {
    let mut texts = bytes.split(|&byte| byte == END).map(String::from_utf8_lossy);
    let source = texts.next().unwrap_or_default();
    let message = |text: std::borrow::Cow<str>| {
        let speaker = match text.len() % 3 {
            0 => Speaker::User,
            1 => Speaker::Assistant,
            _ => Speaker::System,
        };
        Message::new(speaker, text)
    };
    let conversation = Conversation { messages: texts.take(8).map(message).collect(), ..Conversation::default() };
    let written = render(&source, &conversation);
    if !source.contains("strftime_now") {
        assert_eq!(written, render(&source, &conversation));
    }
    let is_mark = |c: char| ('\u{fdd0}'..='\u{fdef}').contains(&c);
    match &written {
        Ok(pieces) => {
            for piece in pieces {
                let (Piece::Template(text) | Piece::Content(text)) = piece else { panic!("no answer was generated") };
                assert!(!text.is_empty() && (!text.contains(is_mark) || source.contains(is_mark)), "{text:?}");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty() && error.hint().is_some()),
    }
    if let Ok(pieces) = render(PLAIN, &conversation) {
        let content = |piece: &Piece| matches!(piece, Piece::Content(text) if !text.is_empty()).then(|| piece.clone());
        let written: Vec<_> = pieces.iter().filter_map(content).collect();
        let typed = conversation.messages.iter().map(|message| &message.text).filter(|text| !text.trim().is_empty());
        assert_eq!(written, typed.map(|text| Piece::Content(text.clone())).collect::<Vec<_>>());
    }
});
