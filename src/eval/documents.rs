//! Prompts with their answers, one JSON object a line.

use serde_json::{Map, Value};

use crate::prompt::{Conversation, Message, Speaker};

/// What is asked, and the answer that is to be predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub conversation: Conversation,
    pub answer: String,
}

/// A line that is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
#[non_exhaustive]
pub struct Error {
    /// Counted from 1.
    pub line: usize,
    pub what: String,
}

impl Error {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "a line is one JSON object with `prompt` and `answer` (or `completion`), with `question` and `answer`, or with \
         `messages`, the last of them the assistant's"
    }
}

/// The keys of what is asked and of its answer.
const KEYS: [(&str, &str); 3] = [("prompt", "answer"), ("prompt", "completion"), ("question", "answer")];

/// Documents of a text in JSON lines; empty lines are passed over, and so are keys that are not known.
pub fn parse(text: &str) -> Result<Vec<Document>, Error> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(i, line)| document(line).map_err(|what| Error { line: i + 1, what })).collect()
}

fn document(line: &str) -> Result<Document, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("it is no JSON: {error}"))?;
    let Value::Object(object) = value else {
        return Err(format!("it is {}, expected a JSON object", kind(&value)));
    };
    let document = match object.get("messages") {
        Some(messages) => of_messages(messages)?,
        None => of_keys(&object)?,
    };
    if document.answer.is_empty() {
        return Err("the answer is empty, expected a text to predict".to_owned());
    }
    Ok(document)
}

fn of_keys(object: &Map<String, Value>) -> Result<Document, String> {
    let has = |(asked, answer): &&(&str, &str)| object.contains_key(*asked) && object.contains_key(*answer);
    let Some((asked, answer)) = KEYS.iter().find(has) else {
        let keys: Vec<_> = object.keys().map(|key| format!("`{key}`")).collect();
        let got = if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
        return Err(format!(
            "it has {got}, expected `prompt` with `answer` or `completion`, `question` with `answer`, or `messages`"
        ));
    };
    let text = |key: &str| text(key, &object[key]);
    Ok(Document { conversation: Conversation::prompt(text(asked)?), answer: text(answer)? })
}

fn of_messages(messages: &Value) -> Result<Document, String> {
    let Value::Array(list) = messages else {
        return Err(format!("`messages` is {}, expected a list", kind(messages)));
    };
    let mut messages = list.iter().map(message).collect::<Result<Vec<_>, _>>()?;
    match messages.pop() {
        Some(Message { speaker: Speaker::Assistant, text: answer, .. }) if !messages.is_empty() => {
            Ok(Document { conversation: Conversation { messages, ..Conversation::default() }, answer })
        }
        Some(Message { speaker: Speaker::Assistant, .. }) => {
            Err("`messages` is an answer alone, expected what it answers before it".to_owned())
        }
        Some(Message { speaker, .. }) => {
            Err(format!("the last of `messages` is the {speaker}'s, expected the assistant's"))
        }
        None => Err("`messages` is empty, expected a question and its answer".to_owned()),
    }
}

fn message(value: &Value) -> Result<Message, String> {
    let speaker = match value.get("role").and_then(Value::as_str) {
        Some("system") => Speaker::System,
        Some("user") => Speaker::User,
        Some("assistant") => Speaker::Assistant,
        Some(other) => return Err(format!("a message's role is {other:?}, expected system, user or assistant")),
        None => return Err("a message has no role, expected system, user or assistant".to_owned()),
    };
    Ok(Message::new(speaker, text("content", value.get("content").unwrap_or(&Value::Null))?))
}

fn text(key: &str, value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("`{key}` is {}, expected a text", kind(value)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_line() {
        let text = "{\"id\": 7, \"prompt\": \"a\", \"answer\": \"b\"}\n\n{\"prompt\": \"a\", \"completion\": \"b\"}\n\
                    {\"question\": \"a\", \"answer\": \"b\"}\n\
                    {\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}\n";
        let expected = Document { conversation: Conversation::prompt("a"), answer: "b".to_owned() };
        assert_eq!(parse(text).expect("four documents"), vec![expected; 4]);
        let text = "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"a\"}, \
                    {\"role\": \"assistant\", \"content\": \"b\"}]}";
        assert_eq!(parse(text).expect("one")[0].conversation.messages.len(), 2);
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong() {
        for (line, words) in [
            ("{", "no JSON"),
            ("[1]", "a list, expected a JSON object"),
            ("{}", "it has nothing"),
            ("{\"text\": \"a\"}", "it has `text`"),
            ("{\"prompt\": \"a\", \"answer\": 4}", "`answer` is a number"),
            ("{\"prompt\": \"a\", \"answer\": \"\"}", "the answer is empty"),
            ("{\"messages\": 4}", "`messages` is a number"),
            ("{\"messages\": []}", "`messages` is empty"),
            ("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", "the last of `messages` is the user's"),
            ("{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}", "an answer alone"),
            ("{\"messages\": [{\"role\": \"tool\", \"content\": \"a\"}]}", "\"tool\""),
            ("{\"messages\": [{\"role\": \"user\", \"content\": [\"a\"]}]}", "`content` is a list"),
        ] {
            let error = parse(&format!("{{\"prompt\": \"a\", \"answer\": \"b\"}}\n{line}\n")).expect_err(line);
            assert_eq!(error.line, 2);
            assert!(error.to_string().contains(words), "{line}: {error}");
        }
    }
}
