//! Biases in JSON, which has no number for −∞: there `false` says that a token is never chosen.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use serde_json::Value;

pub fn serialize<S: Serializer>(biases: &[(i32, f32)], serializer: S) -> Result<S::Ok, S::Error> {
    let of = |bias: f32| if bias == f32::NEG_INFINITY { Value::Bool(false) } else { bias.into() };
    serializer.collect_seq(biases.iter().map(|&(id, bias)| (id, of(bias))))
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(i32, f32)>, D::Error> {
    let of = |bias: Value| match bias {
        Value::Bool(false) => Ok(f32::NEG_INFINITY),
        Value::Number(bias) => Ok(bias.as_f64().unwrap_or(f64::NAN) as f32),
        other => Err(D::Error::custom(format!("a bias is a number, or false to forbid the token; got {other}"))),
    };
    Vec::<(i32, Value)>::deserialize(deserializer)?.into_iter().map(|(id, bias)| Ok((id, of(bias)?))).collect()
}
