//! What of a schema it is that cannot be kept.

use std::time::{Duration, Instant};

use llguidance::Matcher;
use serde_json::{Map, Value};

use super::walk::{Place, every, pointer};

/// Parts of a schema that are tried by themselves, and for how long.
const MAX_TRIED: usize = 256;
const SEARCH_TIME: Duration = Duration::from_millis(300);

/// Keywords that are kept, and may turn out not to be.
const KEPT: [&str; 23] = [
    "oneOf",
    "pattern",
    "patternProperties",
    "format",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "additionalProperties",
    "$ref",
    "type",
];

/// What llguidance makes of a schema.
pub(super) type Compiles<'a> = &'a dyn Fn(&Value) -> Result<Matcher, String>;

/// The smallest part that is refused, and the keyword without which it would not be, if it is one alone. Nothing, or no keyword,
/// where it takes too long to find.
pub(super) fn culprit(schema: &Value, compiles: Compiles<'_>) -> Option<(Place, Option<&'static str>)> {
    let began = Instant::now();
    let is_seen_as = |is_kept: bool, fields: &Map<String, Value>| {
        began.elapsed() < SEARCH_TIME && compiles(&by_itself(schema, fields)).is_ok() == is_kept
    };
    let mut parts = every(schema).into_iter().take(MAX_TRIED);
    let (place, fields) = parts.find(|(_, fields)| is_seen_as(false, fields))?;
    let is_it = |keyword: &&str| {
        let mut without = fields.clone();
        without.shift_remove(*keyword).is_some() && is_seen_as(true, &without)
    };
    Some((place, KEPT.into_iter().find(is_it)))
}

/// A part with what it may refer to.
fn by_itself(schema: &Value, fields: &Map<String, Value>) -> Value {
    let mut part = fields.clone();
    for name in ["$defs", "definitions", "$schema"] {
        if let (Some(value), false) = (schema.get(name), part.contains_key(name)) {
            part.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(part)
}

/// A schema without a keyword at a place: of choices one must be taken, or several may.
pub(super) fn leave_out(schema: &mut Value, place: &[String], keyword: &str) {
    if let Some(Value::Object(fields)) = schema.pointer_mut(&pointer(place)) {
        let removed = fields.shift_remove(keyword);
        if let ("oneOf", Some(choices)) = (keyword, removed) {
            fields.entry("anyOf").or_insert(choices);
        }
    }
}
