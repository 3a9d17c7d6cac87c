//! How much is generated, and where it ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::sampling::out_of_range;
use crate::server::catalog::Defaults;
use crate::server::error::Error;

/// Where an answer ends.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LimitFields {
    /// Most tokens to generate; -1 until the model ends or the context is full.
    pub n_predict: Option<i64>,
    pub max_completion_tokens: Option<i64>,
    pub max_tokens: Option<i64>,
    /// A string, or several, that end the text and are no part of it.
    #[schema(value_type = Object)]
    pub stop: Option<Value>,
    /// The text ends with the first line that ends so many milliseconds after its first token; 0 and less for no limit.
    pub t_max_predict_ms: Option<i64>,
}

impl LimitFields {
    pub fn n_predict(&self, defaults: &Defaults) -> Result<Option<usize>, Error> {
        let fields = [
            ("n_predict", self.n_predict),
            ("max_completion_tokens", self.max_completion_tokens),
            ("max_tokens", self.max_tokens),
        ];
        match fields.into_iter().find_map(|(name, value)| Some((name, value?))) {
            None => Ok(defaults.n_predict),
            Some((_, -1)) => Ok(None),
            Some((name, value)) => {
                let n = usize::try_from(value).ok().filter(|n| i32::try_from(*n).is_ok());
                Ok(Some(n.ok_or_else(|| out_of_range(name, value, "0 to 2147483647, or -1 for no limit"))?))
            }
        }
    }

    pub fn time_limit(&self) -> Option<Duration> {
        let ms = self.t_max_predict_ms.and_then(|ms| u64::try_from(ms).ok());
        ms.filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    pub fn stop(&self, defaults: &Defaults) -> Result<Vec<String>, Error> {
        let texts = match &self.stop {
            None => return Ok(defaults.stop.clone()),
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(texts)) => texts
                .iter()
                .map(|text| {
                    text.as_str().map(str::to_owned).ok_or_else(|| Error::field("stop", format!("{text} is no text")))
                })
                .collect::<Result<_, _>>()?,
            Some(other) => return Err(Error::field("stop", format!("{other}, expected a text or a list of texts"))),
        };
        let texts: Vec<_> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        Ok(if texts.is_empty() { defaults.stop.clone() } else { texts })
    }
}
