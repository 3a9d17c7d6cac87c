//! JSON schemas on their way to llguidance: what it cannot keep is refused, with the keyword and its place, or where a schema may
//! be kept loosely, left out and named.
//!
//! Keywords that no draft knows are notes, as the standard has it, and so are formats that llguidance does not know. What it
//! refuses itself is narrowed down to the smallest part of the schema that it refuses, and to a keyword of that.

use llguidance::Matcher;
use serde_json::{Map, Value, json};

use super::culprit::{Compiles, culprit, leave_out};
use super::form::JsonForm;
use super::narrow::narrow;
use super::walk::{change, depth, inside_mut, shown};

/// A schema of more bytes is refused, and one in which more stand in one another.
pub const MAX_BYTES: usize = 256 << 10;
const MAX_DEPTH: usize = 128;
/// Keywords that are left out of one schema at most, before it is refused after all.
const MAX_LEFT_OUT: usize = 64;

/// Keywords of some draft that say what a document must not be, or relate its parts to one another.
const REFUSED: [&str; 21] = [
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "contentSchema",
    "extends",
    "disallow",
];
/// The formats that llguidance writes.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];

/// A schema that can be kept, what follows it, and what was left out of it.
pub(super) struct Schema {
    pub value: Value,
    pub matcher: Matcher,
    pub notes: Vec<String>,
}

/// The part of a schema that can be kept: all of it, or a reason. What is left out instead where it may be is told.
pub(super) fn kept(form: &JsonForm, compiles: Compiles<'_>) -> Result<Schema, String> {
    let text = &form.schema;
    if text.len() > MAX_BYTES {
        return Err(format!("it has {} bytes, at most {MAX_BYTES} are accepted", text.len()));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    kept_value(value, form.is_lax, compiles)
}

/// The same of a schema that is read already.
pub(super) fn kept_value(mut value: Value, is_lax: bool, compiles: Compiles<'_>) -> Result<Schema, String> {
    match value {
        Value::Object(_) => {}
        // Anything goes.
        Value::Bool(true) => value = json!({}),
        Value::Bool(false) => return Err("#: `false` describes nothing that could be written".to_owned()),
        other => return Err(format!("expected an object, got {}", shortened(&other))),
    }
    let mut look = Look { is_lax, notes: Vec::new() };
    look.at(&mut value, &mut Vec::new())?;
    let mut notes = look.notes;
    if depth(&value, MAX_DEPTH) > MAX_DEPTH {
        return Err(format!("#: it nests deeper than {MAX_DEPTH} levels, references followed"));
    }
    narrow(&mut value);
    loop {
        let reason = match compiles(&value) {
            Ok(matcher) => return Ok(Schema { value, matcher, notes }),
            Err(reason) => reason,
        };
        let Some((place, keyword)) = culprit(&value, compiles) else { return Err(in_our_words(None, reason)) };
        let refused = format!("{}: {}", shown(&place, keyword.unwrap_or_default()), in_our_words(keyword, reason));
        match keyword {
            Some(keyword) if is_lax && notes.len() < MAX_LEFT_OUT => leave_out(&mut value, &place, keyword),
            _ => return Err(refused),
        }
        notes.push(refused);
    }
}

/// llguidance names an option of its own there.
fn in_our_words(keyword: Option<&str>, reason: String) -> String {
    if keyword == Some("oneOf") || reason.starts_with("oneOf constraints are not supported") {
        return "that only one of them holds cannot be kept, unless their documents are seen to differ".to_owned();
    }
    reason
}

/// A schema without what is only a note, for programs that would go by it.
pub(super) fn without_notes(mut schema: Value) -> Value {
    change(&mut schema, &mut leave_out_what_says_nothing);
    schema
}

/// A schema with the way in which documents are written: on one line, as Python's `json.dumps` has it.
pub(super) fn written(mut schema: Value) -> Value {
    if let Value::Object(fields) = &mut schema {
        let options = json!({"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": false});
        fields.insert("x-guidance".to_owned(), options);
    }
    schema
}

struct Look {
    is_lax: bool,
    notes: Vec<String>,
}

impl Look {
    /// Looks at a schema and at those in it; `place` is its own.
    fn at(&mut self, schema: &mut Value, place: &mut Vec<String>) -> Result<(), String> {
        let Value::Object(fields) = schema else { return Ok(()) };
        // llguidance would read options of its own there.
        fields.remove("x-guidance");
        leave_out_what_says_nothing(fields);
        for keyword in REFUSED.into_iter().filter(|keyword| fields.contains_key(*keyword)).collect::<Vec<_>>() {
            let place = shown(place, keyword);
            self.refuse(format!("{place}: the keyword `{keyword}` cannot be kept while an answer is written"))?;
            fields.remove(keyword);
        }
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str)
            && !(reference == "#" || reference.starts_with("#/"))
        {
            let place = shown(place, "$ref");
            self.refuse(format!("{place}: expected a place in this schema, such as #/$defs/name, got {reference:?}"))?;
            fields.remove("$ref");
        }
        for (step, schema) in inside_mut(fields) {
            let n = place.len();
            place.extend(step);
            self.at(schema, place)?;
            place.truncate(n);
        }
        Ok(())
    }

    /// What is wrong ends it, or is noted where that may be.
    fn refuse(&mut self, words: String) -> Result<(), String> {
        if !self.is_lax || self.notes.len() >= MAX_LEFT_OUT {
            return Err(words);
        }
        self.notes.push(words);
        Ok(())
    }
}

/// Keywords that change nothing as they stand there, and formats that are notes.
fn leave_out_what_says_nothing(fields: &mut Map<String, Value>) {
    let is_false = |fields: &Map<String, Value>, name: &str| fields.get(name) == Some(&Value::Bool(false));
    let one_item = fields.get("maxItems").and_then(Value::as_u64).is_some_and(|n| n <= 1);
    if is_false(fields, "uniqueItems") || one_item {
        fields.remove("uniqueItems");
    }
    if !fields.contains_key("if") {
        fields.remove("then");
        fields.remove("else");
    } else if !fields.contains_key("then") && !fields.contains_key("else") {
        fields.remove("if");
    }
    if !fields.contains_key("contains") {
        fields.remove("minContains");
        fields.remove("maxContains");
    }
    // llguidance would take the schema for one of an older draft, in which what stands in front says nothing.
    if fields.contains_key("prefixItems") {
        fields.remove("additionalItems");
    }
    // Notes of what a text holds, in spite of which some validators look into it.
    fields.remove("contentEncoding");
    fields.remove("contentMediaType");
    for name in ["dependencies", "dependentRequired", "dependentSchemas"] {
        if fields.get(name).and_then(Value::as_object).is_some_and(Map::is_empty) {
            fields.remove(name);
        }
    }
    if fields.get("format").and_then(Value::as_str).is_some_and(|format| !FORMATS.contains(&format)) {
        fields.remove("format");
    }
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}
