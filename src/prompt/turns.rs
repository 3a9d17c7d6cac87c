//! The messages of a conversation as one view has them, before they are written out.

use std::borrow::Cow;

use super::{Conversation, Generated, Speaker, View};

#[derive(Debug, Clone)]
pub(super) struct Turn<'a> {
    pub speaker: Speaker,
    pub text: Cow<'a, str>,
    pub generated: Option<&'a Generated>,
}

impl<'a> Turn<'a> {
    pub fn new(speaker: Speaker, text: impl Into<Cow<'a, str>>) -> Self {
        Self { speaker, text: text.into(), generated: None }
    }

    /// Whether there is text beside white space.
    pub fn has_text(&self) -> bool {
        !self.text.trim().is_empty()
    }
}

/// The conversation with the view's own system message, prefix and prompt put in.
pub(super) fn of<'a>(view: &'a View, conversation: &'a Conversation) -> Vec<Turn<'a>> {
    let mut turns: Vec<_> = conversation
        .messages
        .iter()
        .map(|message| Turn {
            generated: message.generated.as_ref(),
            ..Turn::new(message.speaker, message.text.as_str())
        })
        .collect();
    if let Some(system) = &view.system {
        turns.retain(|turn| turn.speaker != Speaker::System);
        turns.splice(..0, (!system.is_empty()).then(|| Turn::new(Speaker::System, system.as_str())));
    }
    if let Some(prompt) = &view.prompt {
        turns.retain(|turn| turn.speaker == Speaker::System);
        turns.extend((!prompt.is_empty()).then(|| Turn::new(Speaker::User, prompt.as_str())));
    }
    if let Some(prefix) = view.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
        lead(&mut turns, prefix);
    }
    turns
}

/// The system messages put in front of the first user message, for templates that have no place for them.
pub(super) fn merged<'a>(turns: &[Turn<'a>]) -> Vec<Turn<'a>> {
    let (system, mut others): (Vec<_>, Vec<_>) =
        turns.iter().cloned().partition(|turn| turn.speaker == Speaker::System);
    let mut text: Vec<_> = system.iter().filter(|turn| turn.has_text()).map(|turn| turn.text.as_ref()).collect();
    if others.iter().any(|turn| turn.speaker == Speaker::User) && !text.is_empty() {
        text.push("");
    }
    let text = text.join("\n\n");
    if !text.is_empty() {
        lead(&mut others, &text);
    }
    others
}

/// Puts text in front of the first user message, which is made where there is none.
fn lead(turns: &mut Vec<Turn>, text: &str) {
    if let Some(turn) = turns.iter_mut().find(|turn| turn.speaker == Speaker::User) {
        turn.text = format!("{text}{}", turn.text).into();
    } else {
        let at = turns.iter().take_while(|turn| turn.speaker == Speaker::System).count();
        turns.insert(at, Turn::new(Speaker::User, text.to_owned()));
    }
}
