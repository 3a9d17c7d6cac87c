//! Messages of a chat as clients send them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::prompt::{Conversation, Message, Speaker};
use crate::server::error::Error;
use crate::server::wire::tools::calls_of;

/// Most messages of a conversation.
const MAX_MESSAGES: usize = 4096;

/// One message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MessageField {
    /// `system` or `developer`, `user`, `assistant`, `tool`.
    pub role: String,
    /// A text, or a list of parts of type `text`.
    #[schema(value_type = Object)]
    #[serde(default)]
    pub content: Value,
    /// What an assistant called.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub tool_calls: Value,
    /// Of a tool's message: the call whose result it is. Ollama's clients send the name of the tool.
    #[serde(default, alias = "tool_name")]
    pub tool_call_id: Option<String>,
}

impl MessageField {
    /// A message of words alone.
    pub fn new(role: &str, content: Value) -> Self {
        Self { role: role.to_owned(), content, tool_calls: Value::Null, tool_call_id: None }
    }
}

/// A conversation. What the last message says is what the answer goes on with, where an assistant says it; `system` is said
/// first where no message is the system's.
pub fn conversation(messages: &[MessageField], system: Option<&String>) -> Result<Conversation, Error> {
    let mut conversation = Conversation::default();
    for (i, message) in messages.iter().enumerate() {
        conversation.messages.push(one(&format!("messages[{i}]"), message)?);
    }
    finish(conversation, system)
}

/// The same of messages that are read already.
pub fn finish(mut conversation: Conversation, system: Option<&String>) -> Result<Conversation, Error> {
    let messages = &mut conversation.messages;
    if messages.len() > MAX_MESSAGES {
        let message = format!("{} of them, expected at most {MAX_MESSAGES}", messages.len());
        return Err(Error::field("messages", message));
    }
    if let Some(last) = messages.pop_if(|last| last.speaker == Speaker::Assistant && last.calls.is_empty()) {
        conversation.prefix = last.text;
    }
    if messages.is_empty() && conversation.prefix.is_empty() {
        return Err(Error::field("messages", "there is none to answer"));
    }
    if let Some(system) = system
        && messages.iter().all(|message| message.speaker != Speaker::System)
    {
        messages.insert(0, Message::new(Speaker::System, system.as_str()));
    }
    Ok(conversation)
}

/// Refuses what a body asks of the chat template and that is not done.
pub fn refuse_of_template(body: &Value, messages: &[MessageField]) -> Result<(), Error> {
    if body.get("chat_template_kwargs").and_then(Value::as_object).is_some_and(|values| !values.is_empty()) {
        let hint = "templates are given the messages alone; a template of your own can hold the values";
        return Err(Error::unsupported("chat_template_kwargs", hint));
    }
    // An answer that has begun is gone on with anyway.
    let goes_on = messages.last().is_some_and(|last| last.role == "assistant");
    if body.get("add_generation_prompt") == Some(&Value::Bool(false)) && !goes_on {
        return Err(Error::unsupported("add_generation_prompt", "what is asked for is an answer"));
    }
    Ok(())
}

/// Puts what the system says in front. Many chat templates take one message of the system alone, so what it says first
/// becomes one.
pub fn led_by(mut conversation: Conversation, system: String) -> Conversation {
    let messages = &mut conversation.messages;
    let is_behind = |message: &Message| message.speaker != Speaker::System;
    let n = messages.iter().position(is_behind).unwrap_or(messages.len());
    let texts = std::iter::once(system).chain(messages.drain(..n).map(|message| message.text));
    let text = texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n");
    if !text.is_empty() {
        messages.insert(0, Message::new(Speaker::System, text));
    }
    conversation
}

/// A message; `path` is where it stands in the request.
pub fn one(path: &str, message: &MessageField) -> Result<Message, Error> {
    let speaker = match message.role.as_str() {
        "system" | "developer" => Speaker::System,
        "user" => Speaker::User,
        "assistant" => Speaker::Assistant,
        "tool" => Speaker::Tool,
        other => {
            let message = format!("{other:?}, expected system, developer, user, assistant or tool");
            return Err(Error::field(&format!("{path}.role"), message));
        }
    };
    let calls = calls_of(&format!("{path}.tool_calls"), &message.tool_calls)?;
    if !calls.is_empty() && speaker != Speaker::Assistant {
        return Err(Error::field(&format!("{path}.tool_calls"), "only an assistant calls tools"));
    }
    // Who calls need not say anything.
    let text = match &message.content {
        Value::Null if !calls.is_empty() => String::new(),
        content => text(&format!("{path}.content"), content)?,
    };
    let answers = message.tool_call_id.clone().filter(|_| speaker == Speaker::Tool);
    Ok(Message { calls, answers, ..Message::new(speaker, text) })
}

/// The text of a message's content: parts of text, a line each.
pub fn text(path: &str, content: &Value) -> Result<String, Error> {
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let parts = parts.iter().enumerate().map(|(i, part)| part_of(&format!("{path}[{i}]"), part));
            Ok(parts.collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
        Value::Null => Err(Error::field(path, "it is missing, expected a text or a list of parts")),
        other => Err(Error::field(path, format!("{other}, expected a text or a list of parts"))),
    }
}

fn part_of(path: &str, part: &Value) -> Result<String, Error> {
    if let Value::String(text) = part {
        return Ok(text.clone());
    }
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "text" | "input_text" | "output_text" => {
            let text = part.get("text").and_then(Value::as_str);
            text.map(str::to_owned).ok_or_else(|| Error::field(path, "a part of text without `text`"))
        }
        other => Err(Error::unsupported(path, format!("models are given text alone, and this is {other:?}"))),
    }
}
