//! Numbers in JSON, which has none for what is not finite: there they are texts, `"-inf"`, `"inf"` and `"NaN"`.

#![allow(clippy::trivially_copy_pass_by_ref, clippy::ref_option, reason = "as serde's attributes call them")]

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.is_finite() { number.serialize(serializer) } else { serializer.collect_str(number) }
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    of(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn of(value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| format!("expected a number, or \"-inf\", \"inf\" or \"NaN\"; got {value}"))
}

/// The same where there may be none.
pub mod option {
    use super::{Deserialize, Deserializer, Error, Serializer, Value, of};

    pub fn serialize<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        match number {
            Some(number) => super::serialize(number, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(None),
            value => of(&value).map(Some).map_err(D::Error::custom),
        }
    }
}
