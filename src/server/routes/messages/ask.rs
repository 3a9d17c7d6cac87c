//! What Anthropic's clients ask for, in the words of the chat endpoint.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::prompt::Conversation;
use crate::server::body::read;
use crate::server::error::Error;
use crate::server::wire::messages::{MessageField, finish, led_by, one, text};
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
    /// Functions that the answer may call: `{"name", "description", "input_schema"}`
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Value>,
    /// `{"type"}`: `auto`, `any`, `none`, or `tool` with a `name`
    #[schema(value_type = Option<Object>)]
    pub tool_choice: Option<Value>,
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
    let mut translated = body.clone();
    translate_tools(body, &mut translated)?;
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
    let Own { messages, system: said } = read(body)?;
    let mut conversation = Conversation::default();
    for (i, message) in messages.into_iter().enumerate() {
        for field in unfolded(message) {
            conversation.messages.push(one(&format!("messages[{i}]"), &field)?);
        }
    }
    if said.is_null() {
        return finish(conversation, system);
    }
    let said = text("system", &said)?;
    Ok(led_by(finish(conversation, None)?, said))
}

/// Tools under the chat endpoint's names.
fn translate_tools(body: &Value, translated: &mut Value) -> Result<(), Error> {
    if body.get("mcp_servers").and_then(Value::as_array).is_some_and(|list| !list.is_empty()) {
        return Err(Error::unsupported("mcp_servers", "tools are run by the client"));
    }
    if let Some(tools) = body.get("tools").and_then(Value::as_array) {
        let tool = |(i, tool): (usize, &Value)| {
            // Those of the vendor's own have a type with a date.
            let kind = tool.get("type").and_then(Value::as_str).unwrap_or("custom");
            if kind != "custom" {
                let message = format!("tools are functions that the client runs, and this is {kind:?}");
                return Err(Error::unsupported(&format!("tools[{i}]"), message));
            }
            let mut function = tool.clone();
            if let (Some(fields), Some(schema)) = (function.as_object_mut(), tool.get("input_schema")) {
                fields.remove("type");
                fields.insert("parameters".to_owned(), schema.clone());
            }
            Ok(function)
        };
        translated["tools"] = tools.iter().enumerate().map(tool).collect::<Result<_, _>>()?;
    }
    if let Some(choice) = body.get("tool_choice").filter(|choice| choice.is_object()) {
        translated["tool_choice"] = match choice["type"].as_str() {
            Some("any") => json!("required"),
            Some(kind @ ("auto" | "none")) => json!(kind),
            _ => choice.clone(),
        };
        if choice["disable_parallel_tool_use"] == true {
            translated["parallel_tool_calls"] = json!(false);
        }
    }
    Ok(())
}

/// A message whose blocks may be calls and results: as the chat endpoint has it, with a message of its own for each result.
fn unfolded(mut message: MessageField) -> Vec<MessageField> {
    let Value::Array(blocks) = &mut message.content else { return vec![message] };
    let (mut calls, mut results) = (Vec::new(), Vec::new());
    blocks.retain(|block| {
        match block["type"].as_str() {
            // Thoughts are sent back as they came; no template is given them again.
            Some("thinking" | "redacted_thinking") => {}
            Some("tool_use") => {
                let function = json!({"name": block["name"], "arguments": block["input"]});
                calls.push(json!({"id": block["id"], "function": function}));
            }
            Some("tool_result") => results.push(block.clone()),
            _ => return true,
        }
        false
    });
    let has_words = !blocks.is_empty();
    let result = |block: Value| {
        // A tool may have nothing to say.
        let content = if block["content"].is_null() { json!("") } else { block["content"].clone() };
        let id = block["tool_use_id"].as_str().map(str::to_owned);
        MessageField { tool_call_id: id, ..MessageField::new("tool", content) }
    };
    let mut messages: Vec<_> = results.into_iter().map(result).collect();
    if !calls.is_empty() {
        message.tool_calls = json!(calls);
        if !has_words {
            message.content = Value::Null;
        }
        messages.push(message);
    } else if has_words || messages.is_empty() {
        messages.push(message);
    }
    messages
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
    fn calls_and_results_become_messages() {
        let body = json!({"messages": [
            {"role": "user", "content": "How warm is it?"},
            {"role": "assistant", "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "a", "name": "warmth", "input": {"city": "Bern"}},
                {"type": "tool_use", "id": "b", "name": "now", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "20"}]},
                {"type": "tool_result", "tool_use_id": "b"},
                {"type": "text", "text": "Well?"},
            ]},
        ]});
        let conversation = conversation(&body, None).expect("valid");
        let said: Vec<_> =
            conversation.messages.iter().map(|message| (message.speaker, message.text.as_str())).collect();
        let expected = [
            (Speaker::User, "How warm is it?"),
            (Speaker::Assistant, "Let me see."),
            (Speaker::Tool, "20"),
            (Speaker::Tool, ""),
            (Speaker::User, "Well?"),
        ];
        assert_eq!(said, expected);
        let calls: Vec<_> = conversation.messages[1].calls.iter().map(|call| (&*call.name, &*call.arguments)).collect();
        assert_eq!(calls, [("warmth", r#"{"city":"Bern"}"#), ("now", "{}")]);
        assert_eq!(conversation.messages[3].answers.as_deref(), Some("b"));
    }

    #[test]
    fn what_is_no_text_is_refused_by_its_name() {
        let param = |body| {
            let error = translated(&body).and_then(|_| conversation(&body, None).map(|_| ())).expect_err("refused");
            error.json()["error"]["param"].clone()
        };
        let of = |kind: &str| json!({"messages": [{"role": "user", "content": [{"type": kind}]}]});
        for kind in ["image", "document"] {
            assert_eq!(param(of(kind)), "messages[0].content[0]", "{kind}");
        }
        assert_eq!(param(of("tool_use")), "messages[0].tool_calls[0].function.name");
        assert_eq!(param(json!({"messages": [], "tools": [{"type": "bash_20250124", "name": "bash"}]})), "tools[0]");
        assert_eq!(param(json!({"messages": [], "mcp_servers": [{}]})), "mcp_servers");
        assert_eq!(param(json!({"messages": [], "stop_sequences": [1]})), "stop_sequences");
    }
}
