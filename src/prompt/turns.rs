//! The messages of a conversation as one view has them, before they are written out.

use std::borrow::Cow;

use super::{Call, Generated, Speaker};

#[derive(Debug, Clone)]
pub(super) struct Turn<'a> {
    pub speaker: Speaker,
    pub text: Cow<'a, str>,
    pub generated: Option<&'a Generated>,
    /// What an answer calls, each under the id that templates are told.
    pub calls: Vec<(String, &'a Call)>,
    /// The id and the name of the call whose result this is.
    pub answers: Option<(String, &'a str)>,
}

impl<'a> Turn<'a> {
    pub fn new(speaker: Speaker, text: impl Into<Cow<'a, str>>) -> Self {
        Self { speaker, text: text.into(), generated: None, calls: Vec::new(), answers: None }
    }

    /// Whether there is text beside white space.
    pub fn has_text(&self) -> bool {
        !self.text.trim().is_empty()
    }
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
pub(super) fn lead(turns: &mut Vec<Turn>, text: &str) {
    if let Some(turn) = turns.iter_mut().find(|turn| turn.speaker == Speaker::User) {
        turn.text = format!("{text}{}", turn.text).into();
    } else {
        let at = turns.iter().take_while(|turn| turn.speaker == Speaker::System).count();
        turns.insert(at, Turn::new(Speaker::User, text.to_owned()));
    }
}
