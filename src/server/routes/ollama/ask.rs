//! What Ollama's clients ask for, in the words of the chat endpoint.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::name::find;
use crate::server::app::App;
use crate::server::error::Error;
use crate::server::wire::messages::MessageField;
use crate::server::wire::steering::SteeringFields;

/// A conversation to be answered. Fields that are not listed are left alone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ChatRequest {
    /// A name of `/api/tags`; without one the first.
    pub model: Option<String>,
    /// Without any, the reply says that the model is loaded.
    pub messages: Option<Vec<MessageField>>,
    /// On unless it is false.
    pub stream: Option<bool>,
    /// `json`, or a JSON schema.
    #[schema(value_type = Option<Object>)]
    pub format: Option<Value>,
    /// Functions that the answer may call.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Value>,
    /// Sampling parameters and limits under Ollama's names, such as `temperature` and `num_predict`.
    #[schema(value_type = Option<Object>)]
    pub options: Option<Value>,
    pub logprobs: Option<bool>,
    /// Candidates for each token.
    pub top_logprobs: Option<usize>,
    #[serde(flatten)]
    pub steering: SteeringFields,
}

/// Options under the names that they have here. What is set when a model is loaded, such as `num_ctx`, is left alone.
const OPTIONS: [(&str, &str); 17] = [
    ("num_predict", "n_predict"),
    ("stop", "stop"),
    ("seed", "seed"),
    ("temperature", "temperature"),
    ("top_k", "top_k"),
    ("top_p", "top_p"),
    ("min_p", "min_p"),
    ("typical_p", "typical_p"),
    ("repeat_last_n", "repeat_last_n"),
    ("repeat_penalty", "repeat_penalty"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
    ("mirostat", "mirostat"),
    ("mirostat_tau", "mirostat_tau"),
    ("mirostat_eta", "mirostat_eta"),
    ("grammar", "grammar"),
    ("ignore_eos", "ignore_eos"),
];

/// The body with the fields of this dialect under the chat endpoint's names.
pub fn translated(app: &App, body: &Value) -> Result<Value, Error> {
    refuse(body)?;
    let mut translated = body.clone();
    translated["model"] = json!(find(app, body)?.id());
    match body.get("options") {
        None | Some(Value::Null) => {}
        Some(Value::Object(options)) => {
            for (name, ours) in OPTIONS {
                if let Some(value) = options.get(name) {
                    translated[ours] = value.clone();
                }
            }
        }
        Some(other) => return Err(Error::field("options", format!("{other}, expected an object"))),
    }
    // Ollama's word for a context filled to its end.
    if translated["n_predict"] == -2 {
        translated["n_predict"] = json!(-1);
    }
    translated["response_format"] = match body.get("format") {
        None | Some(Value::Null) => Value::Null,
        Some(Value::String(name)) if name.is_empty() => Value::Null,
        Some(Value::String(name)) if name == "json" => json!({"type": "json_object"}),
        Some(Value::Object(schema)) => json!({"type": "json_schema", "schema": schema}),
        Some(other) => return Err(Error::field("format", format!("{other}, expected \"json\" or a schema"))),
    };
    Ok(translated)
}

/// Fields that are called otherwise in this dialect.
pub fn renamed(error: Error) -> Error {
    error.called(&[("n_predict", "num_predict"), ("response_format", "format")])
}

fn refuse(body: &Value) -> Result<(), Error> {
    if body.get("think").is_some_and(|think| !(think.is_null() || think == false)) {
        return Err(Error::unsupported("think", "thoughts are not told from answers here"));
    }
    for (i, message) in body.get("messages").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if message.get("images").and_then(Value::as_array).is_some_and(|images| !images.is_empty()) {
            return Err(Error::unsupported(&format!("messages[{i}].images"), "models are given text alone"));
        }
    }
    Ok(())
}
