//! `response_format`: text, any JSON object, or what a schema says.

use serde_json::Value;

use crate::sampling::Sampling;
use crate::server::error::Error;

const ANY_OBJECT: &str = r#"{"type": "object"}"#;

/// Puts what a body asks for into sampling.
pub fn apply(body: &Value, sampling: &mut Sampling) -> Result<(), Error> {
    let format = match body.get("response_format") {
        None | Some(Value::Null) => return Ok(()),
        Some(format) => format,
    };
    let kind = format.get("type").and_then(Value::as_str).unwrap_or_default();
    // llama-server takes a schema beside `json_object` too.
    let schema = match kind {
        "text" => return Ok(()),
        "json_object" => format.get("schema").map_or_else(|| ANY_OBJECT.to_owned(), Value::to_string),
        "json_schema" => match format.get("json_schema").and_then(|named| named.get("schema")).or(format.get("schema"))
        {
            Some(schema) => schema.to_string(),
            None => return Err(Error::field("response_format.json_schema.schema", "it is missing")),
        },
        other => {
            let message = format!("{other:?}, expected text, json_object or json_schema");
            return Err(Error::field("response_format.type", message));
        }
    };
    if sampling.grammar.is_some() || sampling.regex.is_some() {
        let other = if sampling.grammar.is_some() { "a grammar" } else { "a regular expression" };
        return Err(Error::field("response_format", format!("{other} is given beside it, expected one of the two")));
    }
    // Who asks for less than strictness gets what can be kept.
    let named = format.get("json_schema").unwrap_or(format);
    sampling.json_schema_lax |= named.get("strict") == Some(&Value::Bool(false));
    sampling.json_schema = Some(schema);
    Ok(())
}
