//! Whatever people type.

use proptest::prelude::*;

use super::*;

const UNTRIMMED: &str =
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}{{ '<|assistant|>\n' }}";
const TRIMMED: &str =
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}</s>{% endfor %}<|assistant|>";

/// Text with what looks like special tokens, Jinja, and white space.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[ \n\ta-zA-Z\u{e9}\u{1f600}]{0,6}",
        Just("</s>".to_owned()),
        Just("<|user|>".to_owned()),
        Just("{{ bos_token }}{% endfor %}".to_owned()),
        any::<String>(),
    ];
    let no_marks = |text: &String| !text.chars().any(|c| ('\u{fdd0}'..='\u{fdef}').contains(&c));
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat()).prop_filter("marks", no_marks)
}

fn talk() -> impl Strategy<Value = Conversation> {
    let speaker = prop_oneof![Just(Speaker::System), Just(Speaker::User), Just(Speaker::Assistant)];
    let messages = prop::collection::vec((speaker, text()), 0..6);
    (messages, text(), any::<bool>()).prop_map(|(messages, prefix, parse_special)| Conversation {
        tools: None,
        messages: messages.into_iter().map(|(speaker, text)| Message::new(speaker, text)).collect(),
        prefix,
        parse_special,
    })
}

fn joined(pieces: &[Piece]) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Template(text) | Piece::Content(text) | Piece::Raw(text) => text.clone(),
        Piece::Tokens(_) => String::new(),
    };
    pieces.iter().map(text).collect()
}

proptest! {
    #[test]
    fn pieces_join_to_what_the_template_writes(talk in talk()) {
        for (source, trim) in [(UNTRIMMED, false), (TRIMMED, true)] {
            let pieces = view(source).render(&talk).expect("renders");
            let between = if trim { "" } else { "\n" };
            let mut expected = String::from("<s>");
            for message in &talk.messages {
                let text = if trim { message.text.trim() } else { &message.text };
                expected.extend(["<|", message.speaker.name(), "|>", between, text, "</s>", between]);
            }
            expected.extend(["<|assistant|>", between, &talk.prefix]);
            prop_assert_eq!(joined(&pieces), expected);
            prop_assert!(pieces.windows(2).all(|pair| std::mem::discriminant(&pair[0]) != std::mem::discriminant(&pair[1])));
        }
    }

    #[test]
    fn what_people_write_is_content_and_nothing_else_is(talk in talk()) {
        let pieces = view(UNTRIMMED).render(&talk).expect("renders");
        let content: Vec<_> = pieces.iter().filter_map(|piece| match piece {
            Piece::Content(text) => Some(text.as_str()),
            _ => None,
        }).collect();
        // Blank messages have no marks, and no bytes but white space.
        let written: Vec<_> = talk.messages.iter().map(|message| message.text.as_str()).filter(|text| !text.trim().is_empty())
            .chain((!talk.prefix.is_empty()).then_some(talk.prefix.as_str())).collect();
        prop_assert_eq!(content, written);
    }

    #[test]
    fn plain_text_is_all_content(talk in talk()) {
        let pieces = View::default().render(&talk).expect("renders");
        prop_assert!(pieces.len() <= 1);
        for message in talk.messages {
            prop_assert!(joined(&pieces).contains(&message.text));
        }
    }

    #[test]
    fn no_source_makes_it_panic(source in "(\\{\\{|\\{%|%\\}|\\}\\}|for|in|set|=|macro|if|[a-z('\\[\\]){}|.,*~ \n-]|messages|endfor){0,24}") {
        if let Ok(template) = Template::new(&source, "<s>", "</s>") {
            let view = View { template: Some(Arc::new(template)), ..View::default() };
            let _ = view.render(&conversation(&["system: S", "user: a", "assistant: b"]));
        }
    }
}
