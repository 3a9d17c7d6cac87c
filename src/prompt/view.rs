//! How one role sees a conversation.

use std::sync::Arc;

use super::tools::call_id;
use super::turns::{self, Turn};
use super::{CallStyle, Conversation, Error, Message, Piece, Speaker, Template, Toolbox, calls, plain, template};

/// How one role sees a conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// `None`: plain text.
    pub template: Option<Arc<Template>>,
    /// Replaces the conversation's system message; empty for none at all. A template may still write one of its own.
    pub system: Option<String>,
    /// Text in front of the first user message, for this role alone.
    pub prefix: Option<String>,
    /// Stands in place of the whole conversation, the system message apart: one user message (a negative prompt);
    /// empty for none.
    pub prompt: Option<String>,
}

impl View {
    /// What this role is given: no piece is empty, and no two neighbours are of one kind.
    pub fn render(&self, conversation: &Conversation) -> Result<Vec<Piece>, Error> {
        self.render_as(conversation, self.style())
    }

    /// The same where calls of tools are written as another role writes them.
    pub fn render_as(&self, conversation: &Conversation, style: CallStyle) -> Result<Vec<Piece>, Error> {
        let mut turns = self.turns(conversation);
        let template = self.template.as_ref();
        if let Some(template) = template.filter(|template| CallStyle::of(template) == Some(style)) {
            return template::render::render(template, &turns, conversation.tools.as_ref(), &conversation.prefix);
        }
        in_words(&mut turns, conversation.tools.as_ref(), style);
        match template {
            None => Ok(plain::render(&turns, conversation)),
            Some(template) => template::render::render(template, &turns, None, &conversation.prefix),
        }
    }

    /// How the role's own template has calls written.
    #[must_use]
    pub fn style(&self) -> CallStyle {
        let template = self.template.as_deref();
        template.and_then(CallStyle::of).unwrap_or_else(|| CallStyle::without_tools(template))
    }

    /// What this role is given of a text that nobody puts into a template: its own prefix stands in front of it and its own
    /// prompt in its place, and there is no system message. Names of special tokens in those are tokens.
    #[must_use]
    pub fn render_raw(&self, pieces: &[Piece]) -> Vec<Piece> {
        let prefix = self.prefix.iter().filter(|prefix| !prefix.is_empty()).cloned().map(Piece::Raw);
        match &self.prompt {
            None => prefix.chain(pieces.iter().cloned()).collect(),
            Some(prompt) => prefix.chain(Some(Piece::Raw(prompt.clone())).filter(|_| !prompt.is_empty())).collect(),
        }
    }

    /// The conversation with the view's own system message, prefix and prompt put in.
    fn turns<'a>(&'a self, conversation: &'a Conversation) -> Vec<Turn<'a>> {
        let mut turns: Vec<_> = conversation
            .messages
            .iter()
            .map(|message| Turn {
                generated: message.generated.as_ref(),
                ..Turn::new(message.speaker, message.text.as_str())
            })
            .collect();
        number_calls(&conversation.messages, &mut turns);
        if let Some(system) = &self.system {
            turns.retain(|turn| turn.speaker != Speaker::System);
            turns.splice(..0, (!system.is_empty()).then(|| Turn::new(Speaker::System, system.as_str())));
        }
        if let Some(prompt) = &self.prompt {
            turns.retain(|turn| turn.speaker == Speaker::System);
            turns.extend((!prompt.is_empty()).then(|| Turn::new(Speaker::User, prompt.as_str())));
        }
        if let Some(prefix) = self.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            turns::lead(&mut turns, prefix);
        }
        turns
    }
}

/// Gives calls and their results ids that every template takes, whatever they were called.
fn number_calls<'a>(messages: &'a [Message], turns: &mut [Turn<'a>]) {
    let mut known: Vec<(&str, String, &str)> = Vec::new();
    for (message, turn) in messages.iter().zip(turns) {
        for call in &message.calls {
            let id = call_id(0, known.len());
            known.push((&call.id, id.clone(), &call.name));
            turn.calls.push((id, call));
        }
        let asked = message.answers.as_deref();
        let found = asked.and_then(|asked| known.iter().rev().find(|(id, ..)| *id == asked));
        turn.answers = found.map(|(_, id, name)| (id.clone(), *name));
    }
}

/// Tools, calls and results in words, for a template that knows nothing of them, or for none.
fn in_words(turns: &mut Vec<Turn<'_>>, tools: Option<&Toolbox>, style: CallStyle) {
    for turn in turns.iter_mut().filter(|turn| !turn.calls.is_empty()) {
        let written: Vec<_> = turn.calls.drain(..).map(|(_, call)| call.clone()).collect();
        let between = if turn.text.is_empty() { "" } else { "\n" };
        turn.text = format!("{}{between}{}", turn.text, style.written(&written)).into();
    }
    // Templates want user and assistant in turns.
    let mut merged: Vec<Turn<'_>> = Vec::with_capacity(turns.len());
    let mut was_result = false;
    for mut turn in turns.drain(..) {
        let is_result = turn.speaker == Speaker::Tool;
        if is_result {
            turn.speaker = Speaker::User;
            turn.text = calls::results(&turn.text, style).into();
        }
        match merged.last_mut() {
            Some(last) if was_result && turn.speaker == Speaker::User => {
                last.text = format!("{}\n{}", last.text, turn.text).into();
            }
            _ => merged.push(turn),
        }
        was_result = is_result;
    }
    *turns = merged;
    if let Some(tools) = tools {
        let asked = calls::asked(tools, style);
        match turns.first_mut().filter(|turn| turn.speaker == Speaker::System) {
            Some(system) if system.has_text() => system.text = format!("{}\n\n{asked}", system.text).into(),
            Some(system) => system.text = asked.into(),
            None => turns.insert(0, Turn::new(Speaker::System, asked)),
        }
    }
}
