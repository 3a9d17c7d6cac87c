//! Tools as clients offer them, and calls as they are told.

use serde_json::{Value, json};

use crate::generate::Said;
use crate::generate::said::Delta;
use crate::prompt::tools::{Call, Choice, Tool, Toolbox};
use crate::server::error::Error;

/// What a body offers; nothing where it offers none, or wants none to be called.
pub fn toolbox(body: &Value) -> Result<Option<Toolbox>, Error> {
    let tools = match body.get("tools") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(tools)) => {
            let one = |(i, tool): (usize, &Value)| tool_of(&format!("tools[{i}]"), tool);
            tools.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?
        }
        Some(other) => return Err(Error::field("tools", format!("{other}, expected a list"))),
    };
    if body.get("functions").and_then(Value::as_array).is_some_and(|list| !list.is_empty()) {
        return Err(Error::unsupported("functions", "`tools` has taken its place"));
    }
    let choice = match body.get("tool_choice") {
        None | Some(Value::Null) => Some(Choice::Auto),
        Some(Value::String(name)) => match name.as_str() {
            "auto" => Some(Choice::Auto),
            "none" => None,
            "required" | "any" => Some(Choice::Required),
            _ => return Err(choice_error(&json!(name))),
        },
        Some(choice @ Value::Object(fields)) => {
            let named = fields.get("function").and_then(|function| function.get("name")).or(fields.get("name"));
            match (fields.get("type").and_then(Value::as_str), named.and_then(Value::as_str)) {
                (Some("function" | "tool"), Some(name)) => Some(Choice::Named(name.to_owned())),
                _ => return Err(choice_error(choice)),
            }
        }
        Some(other) => return Err(choice_error(other)),
    };
    let parallel = match body.get("parallel_tool_calls") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(parallel)) => *parallel,
        Some(other) => return Err(Error::field("parallel_tool_calls", format!("{other}, expected true or false"))),
    };
    let Some(choice) = choice else { return Ok(None) };
    if tools.is_empty() {
        return match choice {
            Choice::Auto => Ok(None),
            _ => Err(Error::field("tool_choice", "it demands a call, and there are no `tools`")),
        };
    }
    let toolbox = Toolbox { tools, choice, parallel };
    toolbox.check().map_err(|words| Error::field("tools", words))?;
    Ok(Some(toolbox))
}

fn choice_error(got: &Value) -> Error {
    let expected =
        "expected \"auto\", \"none\", \"required\", or {\"type\": \"function\", \"function\": {\"name\": …}}";
    Error::field("tool_choice", format!("{got}, {expected}"))
}

/// A tool as `OpenAI`'s endpoints have it, inside a `function` or flat.
fn tool_of(path: &str, tool: &Value) -> Result<Tool, Error> {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or("function");
    if kind != "function" {
        return Err(Error::unsupported(
            path,
            format!("tools are functions that the client runs, and this is {kind:?}"),
        ));
    }
    let (path, function) = match tool.get("function") {
        Some(function) => (format!("{path}.function"), function),
        None => (path.to_owned(), tool),
    };
    let Some(name) = function.get("name").and_then(Value::as_str) else {
        return Err(Error::field(&format!("{path}.name"), "it is missing, expected the name of a function"));
    };
    let parameters = match function.get("parameters") {
        None | Some(Value::Null) => json!({"type": "object", "properties": {}}),
        Some(parameters) => parameters.clone(),
    };
    Ok(Tool {
        name: name.to_owned(),
        description: function.get("description").and_then(Value::as_str).map(str::to_owned),
        parameters,
        strict: function.get("strict") == Some(&Value::Bool(true)),
    })
}

/// Calls of a message of the conversation so far. Arguments are a text that holds JSON, or JSON itself.
pub fn calls_of(path: &str, calls: &Value) -> Result<Vec<Call>, Error> {
    let list = match calls {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        other => return Err(Error::field(path, format!("{other}, expected a list of calls"))),
    };
    let one = |(i, call): (usize, &Value)| {
        let path = format!("{path}[{i}]");
        let function = call.get("function").unwrap_or(call);
        let Some(name) = function.get("name").and_then(Value::as_str) else {
            return Err(Error::field(&format!("{path}.function.name"), "it is missing"));
        };
        let arguments = match function.get("arguments") {
            None | Some(Value::Null) => "{}".to_owned(),
            Some(Value::String(text)) if text.trim().is_empty() => "{}".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let is_object = serde_json::from_str::<Value>(&arguments).is_ok_and(|arguments| arguments.is_object());
        if !is_object {
            let got: String = arguments.chars().take(80).collect();
            let message = format!("{got:?}, expected a JSON object");
            return Err(Error::field(&format!("{path}.function.arguments"), message));
        }
        // Ollama's clients send none.
        let id = call.get("id").and_then(Value::as_str).map_or_else(|| name.to_owned(), str::to_owned);
        Ok(Call { id, name: name.to_owned(), arguments })
    };
    list.iter().enumerate().map(one).collect()
}

/// The message of a whole answer, as the chat endpoint has it.
pub fn message(said: &Said) -> Value {
    if said.calls.is_empty() {
        return json!({"role": "assistant", "content": said.text});
    }
    let content = if said.text.is_empty() { Value::Null } else { json!(said.text) };
    let call = |call: &Call| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}});
    json!({"role": "assistant", "content": content, "tool_calls": said.calls.iter().map(call).collect::<Vec<_>>()})
}

/// The same of a piece of it.
pub fn delta(delta: Delta) -> Value {
    match delta {
        Delta::Text(text) => json!({"content": text}),
        Delta::Call { index, id, name } => {
            let function = json!({"name": name, "arguments": ""});
            json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
        }
        Delta::Arguments { index, text } => {
            json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]})
        }
    }
}
