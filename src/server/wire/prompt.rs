//! Prompts as llama-server takes them.

use serde_json::Value;

use crate::llama::Token;
use crate::prompt::Piece;
use crate::server::error::Error;

/// Most prompts of one request.
pub const MAX_PROMPTS: usize = 1024;

const EXPECTED: &str = "expected a text, a list of token ids and texts, or a list of several of these";

/// Every prompt of the field `prompt` in pieces: a text; a list of ids, or of ids and texts; a list of prompts. A list with an
/// id is one prompt, and a list of texts is several.
pub fn prompts(value: Option<&Value>) -> Result<Vec<Vec<Piece>>, Error> {
    let prompts = match value {
        None | Some(Value::Null) => return Err(Error::field("prompt", format!("it is missing, {EXPECTED}"))),
        Some(Value::Array(list)) if list.iter().any(Value::is_number) => vec![mixed("prompt", list)?],
        Some(Value::Array(list)) => list.iter().map(one).collect::<Result<_, _>>()?,
        Some(prompt) => vec![one(prompt)?],
    };
    match prompts.len() {
        0 => Err(Error::field("prompt", format!("the list is empty, {EXPECTED}"))),
        n if n > MAX_PROMPTS => Err(Error::field("prompt", format!("{n} prompts, expected at most {MAX_PROMPTS}"))),
        _ => Ok(prompts),
    }
}

fn one(prompt: &Value) -> Result<Vec<Piece>, Error> {
    match prompt {
        Value::String(text) => Ok(vec![Piece::Raw(text.clone())]),
        Value::Array(list) => mixed("prompt", list),
        Value::Object(object) if object.contains_key("multimodal_data") => {
            Err(Error::unsupported("prompt", "models are given text alone"))
        }
        Value::Object(object) => match object.get("prompt_string") {
            Some(Value::String(text)) => Ok(vec![Piece::Raw(text.clone())]),
            _ => Err(refuse("prompt", prompt)),
        },
        other => Err(refuse("prompt", other)),
    }
}

/// Ids and texts in turn, as they stand in a field.
pub fn mixed(field: &str, list: &[Value]) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    for part in list {
        match (part, pieces.last_mut()) {
            (Value::String(text), _) => pieces.push(Piece::Raw(text.clone())),
            (id, Some(Piece::Tokens(tokens))) => tokens.push(token(field, id)?),
            (id, _) => pieces.push(Piece::Tokens(vec![token(field, id)?])),
        }
    }
    Ok(pieces)
}

/// A token's id.
pub fn token(field: &str, id: &Value) -> Result<Token, Error> {
    id.as_i64().and_then(|id| id.try_into().ok()).ok_or_else(|| refuse(field, id))
}

fn refuse(field: &str, got: &Value) -> Error {
    Error::field(field, format!("{got}, {EXPECTED}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(text: &str) -> Piece {
        Piece::Raw(text.to_owned())
    }

    #[test]
    fn prompts_are_read_as_llama_server_reads_them() {
        for (value, expected) in [
            (json!("a"), vec![vec![raw("a")]]),
            (json!([1, 2]), vec![vec![Piece::Tokens(vec![1, 2])]]),
            (json!(["a", 1, 2, "b"]), vec![vec![raw("a"), Piece::Tokens(vec![1, 2]), raw("b")]]),
            (json!(["a", "b"]), vec![vec![raw("a")], vec![raw("b")]]),
            (json!([[1], "b"]), vec![vec![Piece::Tokens(vec![1])], vec![raw("b")]]),
            (json!([[]]), vec![vec![]]),
            (json!({"prompt_string": "a"}), vec![vec![raw("a")]]),
        ] {
            assert_eq!(prompts(Some(&value)).expect("a prompt"), expected, "{value}");
        }
        for value in
            [json!(null), json!(3), json!([]), json!([1.5]), json!([1, [2]]), json!([1, null]), json!({"a": 1})]
        {
            assert!(prompts(Some(&value)).is_err(), "{value}");
        }
    }
}
