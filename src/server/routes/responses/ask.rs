//! What is asked of `/v1/responses`, in the words of the chat endpoint.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::prompt::{Conversation, Message, Speaker};
use crate::server::body::read;
use crate::server::error::Error;
use crate::server::wire::messages::{MessageField, finish, led_by, one};
use crate::server::wire::sampling::SamplingFields;
use crate::server::wire::steering::SteeringFields;

/// A text or a conversation to be answered. Fields that are not listed are left alone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ResponsesRequest {
    /// An id of `/v1/models`; without one the first.
    pub model: Option<String>,
    /// A text, or a list of messages.
    #[schema(value_type = Option<Object>)]
    pub input: Option<Value>,
    /// What the system says first.
    pub instructions: Option<String>,
    pub max_output_tokens: Option<i64>,
    /// `{"format": …}`: text, `json_object`, or `json_schema` with a schema.
    #[schema(value_type = Option<Object>)]
    pub text: Option<Value>,
    /// Candidates for each token.
    pub top_logprobs: Option<usize>,
    pub stream: Option<bool>,
    /// Functions that the answer may call: `{"type": "function", "name", "description", "parameters", "strict"}`
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Value>,
    /// `auto`, `none`, `required`, or `{"type": "function", "name"}`
    #[schema(value_type = Option<Object>)]
    pub tool_choice: Option<Value>,
    /// Several calls in one answer; true where it is left out.
    pub parallel_tool_calls: Option<bool>,
    #[serde(flatten)]
    pub sampling: SamplingFields,
    #[serde(flatten)]
    pub steering: SteeringFields,
}

/// Tools that clients offer unasked, and that nobody here could be expected to have.
const LEFT_OUT: [&str; 4] = ["namespace", "web_search", "web_search_preview", "image_generation"];

/// The body with the fields of this dialect under the chat endpoint's names.
pub fn translated(body: &Value) -> Result<Value, Error> {
    refuse(body)?;
    let mut translated = body.clone();
    if let Some(tools) = translated.get_mut("tools").and_then(Value::as_array_mut) {
        tools.retain(|tool| tool["type"].as_str().is_none_or(|kind| !LEFT_OUT.contains(&kind)));
    }
    if let Some(n) = body.get("max_output_tokens") {
        translated["max_tokens"] = n.clone();
    }
    if let Some(format) = body.get("text").and_then(|text| text.get("format")) {
        translated["response_format"] = format.clone();
    }
    Ok(translated)
}

/// Whether log-probabilities are among what is to be included.
pub fn includes_logprobs(body: &Value) -> bool {
    let included = body.get("include").and_then(Value::as_array);
    included.is_some_and(|list| list.iter().any(|what| what == "message.output_text.logprobs"))
}

/// The messages, led by the instructions; `None` where there is nothing to answer.
pub fn conversation(body: &Value, system: Option<&String>) -> Result<Option<Conversation>, Error> {
    let mut conversation = Conversation::default();
    match body.get("input") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::Array(items)) if items.is_empty() => return Ok(None),
        Some(Value::String(text)) => {
            conversation.messages.push(one("input", &MessageField::new("user", json!(text)))?);
        }
        Some(Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                let Some(message) = message_of(&format!("input[{i}]"), item)? else { continue };
                match conversation.messages.last_mut() {
                    // Calls are items of their own, and one answer all the same.
                    Some(last) if last.speaker == Speaker::Assistant && !message.calls.is_empty() => {
                        last.calls.extend(message.calls);
                    }
                    _ => conversation.messages.push(message),
                }
            }
        }
        Some(other) => return Err(Error::field("input", format!("{other}, expected a text or a list of messages"))),
    }
    let instructions = match body.get("instructions") {
        None | Some(Value::Null) => return finish(conversation, system).map(Some).map_err(of_input),
        Some(Value::String(text)) => text.clone(),
        Some(other) => return Err(Error::field("instructions", format!("{other}, expected a text"))),
    };
    Ok(Some(led_by(finish(conversation, None).map_err(of_input)?, instructions)))
}

fn of_input(error: Error) -> Error {
    error.called(&[("messages", "input")])
}

/// The message of an item, if it has one to give.
fn message_of(path: &str, item: &Value) -> Result<Option<Message>, Error> {
    match item.get("type").and_then(Value::as_str) {
        None | Some("message") => {
            let field: MessageField = read(item).map_err(|error| Error::field(path, error))?;
            one(path, &field).map(Some)
        }
        Some("function_call") => {
            let call = json!({"id": item["call_id"], "name": item["name"], "arguments": item["arguments"]});
            let field = MessageField { tool_calls: json!([call]), ..MessageField::new("assistant", Value::Null) };
            one(path, &field).map(Some)
        }
        Some("function_call_output") => {
            let id = item["call_id"].as_str().map(str::to_owned);
            let field = MessageField { tool_call_id: id, ..MessageField::new("tool", item["output"].clone()) };
            one(path, &field).map(Some)
        }
        // Thoughts are sent back as they came; no template is given them again.
        Some("reasoning") => Ok(None),
        Some("item_reference") => Err(Error::unsupported(path, "nothing is stored that an item could refer to")),
        Some(kind) => Err(Error::unsupported(path, format!("models are given messages alone, and this is {kind:?}"))),
    }
}

fn refuse(body: &Value) -> Result<(), Error> {
    const STORED: [(&str, &str); 4] = [
        ("previous_response_id", "nothing is stored here: send the whole conversation as `input`"),
        ("conversation", "nothing is stored here: send the whole conversation as `input`"),
        ("prompt", "nothing is stored here: send `instructions` and `input`"),
        ("background", "nothing is stored here: the answer comes with the response, or as a stream"),
    ];
    let is_asked = |name: &str| body.get(name).is_some_and(|value| !(value.is_null() || value == false));
    if let Some((name, hint)) = STORED.iter().find(|(name, _)| is_asked(name)) {
        return Err(Error::unsupported(name, hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{conversation, translated};
    use crate::prompt::Speaker;
    use crate::server::wire::tools::toolbox;

    fn said(body: &Value) -> Vec<(Speaker, String)> {
        let conversation = conversation(body, None).expect("valid").expect("something to answer");
        conversation.messages.into_iter().map(|message| (message.speaker, message.text)).collect()
    }

    #[test]
    fn instructions_and_what_developers_say_first_are_one_message() {
        let body = json!({"instructions": "Be brief.", "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"role": "user", "content": "Hello"},
        ]});
        let expected = [(Speaker::System, "Be brief.\n\nBe kind."), (Speaker::User, "Hello")];
        assert_eq!(said(&body), expected.map(|(speaker, text)| (speaker, text.to_owned())));
        assert_eq!(said(&json!({"input": "Hello"})), [(Speaker::User, "Hello".to_owned())]);
    }

    #[test]
    fn an_empty_input_asks_for_nothing() {
        for input in [json!(null), json!(""), json!([])] {
            assert_eq!(conversation(&json!({"input": input, "instructions": "Be brief."}), None), Ok(None), "{input}");
        }
    }

    #[test]
    fn tools_that_nobody_asked_for_are_left_out() {
        let with = |kind: &str| translated(&json!({"input": "Hello", "tools": [{"type": kind, "name": "x"}]}));
        for kind in ["namespace", "web_search", "image_generation"] {
            assert!(with(kind).is_ok(), "{kind}");
        }
        let translated = translated(&json!({"input": "Hello", "tools": [{"type": "web_search"}, {"type": "mcp"}]}));
        let error = toolbox(&translated.expect("for the moment")).expect_err("refused").json();
        assert_eq!(error["error"]["param"], "tools[0]");
    }

    #[test]
    fn fields_are_refused_by_their_names() {
        for name in ["previous_response_id", "conversation", "prompt"] {
            let error = translated(&json!({"input": "Hello", (name): "resp_1"})).expect_err("refused").json();
            assert_eq!(error["error"]["param"], name);
        }
        let image = json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]});
        let error = conversation(&image, None).expect_err("refused").json();
        assert_eq!(error["error"]["param"], "input[0].content[0]");
    }
}
