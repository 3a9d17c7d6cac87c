//! What Anthropic's clients ask for, in the words of the chat endpoint.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::prompt::Conversation;
use crate::server::body::read;
use crate::server::error::Error;
use crate::server::wire::messages::{self, MessageField, led_by, text};
use crate::server::wire::steering::SteeringFields;

/// A conversation to be answered. llama.cpp's sampling fields are read too, and fields that are not known are left alone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MessagesRequest {
    /// An id of `/v1/models`; without one the first.
    pub model: Option<String>,
    pub messages: Vec<MessageField>,
    /// A text, or blocks of type `text`.
    #[schema(value_type = Option<Object>)]
    pub system: Option<Value>,
    /// Most tokens of the answer.
    pub max_tokens: Option<i64>,
    /// Texts that end the answer and are no part of it.
    pub stop_sequences: Option<Vec<String>>,
    pub temperature: Option<f32>,
    pub top_k: Option<i32>,
    pub top_p: Option<f32>,
    pub stream: Option<bool>,
    /// `{"format": {"type": "json_schema", "schema"}}`
    #[schema(value_type = Option<Object>)]
    pub output_config: Option<Value>,
    #[serde(flatten)]
    pub steering: SteeringFields,
}

/// The parts that only this dialect has.
#[derive(Debug, Deserialize)]
struct Own {
    messages: Vec<MessageField>,
    #[serde(default)]
    system: Value,
}

/// The body with the fields of this dialect under the chat endpoint's names.
pub fn translated(body: &Value) -> Result<Value, Error> {
    refuse_tools(body)?;
    let mut translated = body.clone();
    match body.get("stop_sequences") {
        None | Some(Value::Null) => {}
        Some(Value::Array(texts)) if texts.iter().all(Value::is_string) => translated["stop"] = json!(texts),
        Some(other) => return Err(Error::field("stop_sequences", format!("{other}, expected a list of texts"))),
    }
    if let Some(format) = body.get("output_config").and_then(|config| config.get("format")) {
        translated["response_format"] = format.clone();
    }
    Ok(translated)
}

/// The messages, led by what the system says.
pub fn conversation(body: &Value, system: Option<&String>) -> Result<Conversation, Error> {
    let Own { mut messages, system: said } = read(body)?;
    for message in &mut messages {
        // Thoughts are sent back as they came; no template is given them again.
        if let Value::Array(blocks) = &mut message.content {
            blocks.retain(|block| block["type"] != "thinking" && block["type"] != "redacted_thinking");
        }
    }
    if said.is_null() {
        return messages::conversation(&messages, system);
    }
    let said = text("system", &said)?;
    Ok(led_by(messages::conversation(&messages, None)?, said))
}

/// Tools are refused as long as none could be called.
fn refuse_tools(body: &Value) -> Result<(), Error> {
    let is_some = |name: &str| body.get(name).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let chooses = matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool"));
    let name = ["tools", "mcp_servers"].into_iter().find(|name| is_some(name)).or(chooses.then_some("tool_choice"));
    match name {
        Some(name) => Err(Error::unsupported(name, "tools cannot be called here")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{conversation, translated};
    use crate::prompt::Speaker;

    #[test]
    fn blocks_become_messages() {
        let body = json!({
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "…"}, {"type": "text", "text": "Three"}]},
            ],
        });
        let conversation = conversation(&body, Some(&"not said".to_owned())).expect("valid");
        let said: Vec<_> =
            conversation.messages.iter().map(|message| (message.speaker, message.text.as_str())).collect();
        assert_eq!(said, [(Speaker::System, "Be brief."), (Speaker::User, "One\ntwo")]);
        assert_eq!(conversation.prefix, "Three");
    }

    #[test]
    fn fields_are_read_under_their_names() {
        let body = json!({
            "stop_sequences": ["a"], "output_config": {"format": {"type": "json_schema", "schema": {}}, "effort": "low"},
        });
        let translated = translated(&body).expect("valid");
        assert_eq!(translated["stop"], json!(["a"]));
        assert_eq!(translated["response_format"]["type"], "json_schema");
    }

    #[test]
    fn what_is_no_text_is_refused_by_its_name() {
        let param = |body| {
            let error = translated(&body).and_then(|_| conversation(&body, None).map(|_| ())).expect_err("refused");
            error.json()["error"]["param"].clone()
        };
        let of = |kind: &str| json!({"messages": [{"role": "user", "content": [{"type": kind}]}]});
        for kind in ["image", "document", "tool_use", "tool_result"] {
            assert_eq!(param(of(kind)), "messages[0].content[0]", "{kind}");
        }
        assert_eq!(param(json!({"messages": [], "tools": [{"name": "x"}]})), "tools");
        assert_eq!(param(json!({"messages": [], "tool_choice": {"type": "any"}})), "tool_choice");
        assert_eq!(param(json!({"messages": [], "stop_sequences": [1]})), "stop_sequences");
    }
}
