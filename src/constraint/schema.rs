//! JSON schemas on their way to llguidance: what it cannot keep is refused, with the keyword and its place, or where a schema may
//! be kept loosely, left out and named.
//!
//! Keywords that no draft knows are notes, as the standard has it, and so are formats that llguidance does not know. What it
//! refuses itself is narrowed down to the smallest part of the schema that it refuses, and to a keyword of that.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::form::JsonForm;

/// A schema of more bytes is refused, and one that nests deeper.
pub const MAX_BYTES: usize = 64 << 10;
const MAX_DEPTH: usize = 128;
/// Keywords that are left out of one schema at most, before it is refused after all.
const MAX_LEFT_OUT: usize = 64;
/// Parts of a schema that are tried by themselves to find the one that is refused, and for how long.
const MAX_TRIED: usize = 256;
const SEARCH_TIME: Duration = Duration::from_millis(300);

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
/// Where schemas stand in a schema: in a keyword's value itself, in its list, or under its names.
const INSIDE: [&str; 3] = ["items", "additionalItems", "additionalProperties"];
const IN_LISTS: [&str; 5] = ["items", "prefixItems", "allOf", "anyOf", "oneOf"];
const BY_NAMES: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
/// The formats that llguidance writes.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];

/// A schema that can be kept, and what was left out of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Schema {
    pub value: Value,
    pub notes: Vec<String>,
}

/// What llguidance says of a schema.
pub(super) type Compiles<'a> = &'a dyn Fn(&Value) -> Result<(), String>;

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
        other => return Err(format!("expected an object, got {}", shortened(&other))),
    }
    let mut look = Look { is_lax, notes: Vec::new() };
    look.at(&mut value, &mut Vec::new())?;
    let mut notes = look.notes;
    if depth(&value) > MAX_DEPTH {
        return Err(format!("it nests deeper than {MAX_DEPTH} levels, references followed"));
    }
    narrow(&mut value);
    while let Err(reason) = compiles(&value) {
        let Some((place, keyword)) = culprit(&value, compiles) else { return Err(reason) };
        let reason = match keyword {
            "oneOf" => {
                "that only one of them holds cannot be kept, unless their documents are seen to differ".to_owned()
            }
            _ => reason,
        };
        let refused = format!("{}: {reason}", at(&place, &[keyword]));
        if !is_lax || notes.len() >= MAX_LEFT_OUT {
            return Err(refused);
        }
        leave_out(&mut value, &place, keyword);
        notes.push(refused);
    }
    Ok(Schema { value, notes })
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
            let words =
                format!("{}: the keyword `{keyword}` cannot be kept while an answer is written", at(place, &[keyword]));
            self.refuse(words)?;
            fields.remove(keyword);
        }
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str)
            && !(reference == "#" || reference.starts_with("#/"))
        {
            let place = at(place, &["$ref"]);
            self.refuse(format!("{place}: expected a place in this schema, such as #/$defs/name, got {reference:?}"))?;
            fields.remove("$ref");
        }
        for (keyword, value) in fields.iter_mut() {
            let keyword = keyword.as_str();
            place.push(keyword.to_owned());
            match value {
                Value::Array(list) if IN_LISTS.contains(&keyword) => {
                    for (i, schema) in list.iter_mut().enumerate() {
                        place.push(i.to_string());
                        self.at(schema, place)?;
                        place.pop();
                    }
                }
                Value::Object(named) if BY_NAMES.contains(&keyword) => {
                    for (name, schema) in named {
                        place.push(name.clone());
                        self.at(schema, place)?;
                        place.pop();
                    }
                }
                value if INSIDE.contains(&keyword) => self.at(value, place)?,
                _ => {}
            }
            place.pop();
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
    for name in ["dependencies", "dependentRequired", "dependentSchemas"] {
        if fields.get(name).and_then(Value::as_object).is_some_and(Map::is_empty) {
            fields.remove(name);
        }
    }
    if fields.get("format").and_then(Value::as_str).is_some_and(|format| !FORMATS.contains(&format)) {
        fields.remove("format");
    }
}

/// Leaves of what a schema describes what its writer had in mind: an object where it speaks of properties and names no type, and
/// of an object the properties that it lists and no others, since a model that may name some without end does. Every document
/// that is left is one that the schema describes. Not where schemas are combined: what one of them does not list another may.
fn narrow(schema: &mut Value) {
    if !combines(schema) {
        narrow_all(schema);
    }
}

/// Keywords that speak of one type.
const OF_TYPES: [(&str, &[&str]); 3] = [
    (
        "object",
        &["properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties"],
    ),
    ("array", &["items", "prefixItems", "additionalItems", "minItems", "maxItems"]),
    ("string", &["pattern", "format", "minLength", "maxLength"]),
];
/// Keywords that say of a document what it is otherwise.
const TYPED: [&str; 7] = ["type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf"];

fn combines(schema: &Value) -> bool {
    let is_beside = |fields: &Map<String, Value>| {
        let combined = ["anyOf", "oneOf", "$ref"].iter().any(|name| fields.contains_key(*name));
        let own = ["properties", "patternProperties", "additionalProperties", "required", "minProperties"];
        fields.contains_key("allOf") || combined && own.iter().any(|name| fields.contains_key(*name))
    };
    let mut found = false;
    every(schema, &mut Vec::new(), &mut |fields, _| found |= is_beside(fields));
    found
}

fn narrow_all(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    let has = |name: &&str| fields.contains_key(*name);
    if !TYPED.iter().any(has) {
        let spoken: Vec<_> = OF_TYPES.into_iter().filter(|(_, names)| names.iter().any(has)).collect();
        if let [(kind, _)] = spoken[..] {
            fields.insert("type".to_owned(), Value::from(kind));
        }
    }
    bound_digits(fields);
    let lists_all = |properties: &Map<String, Value>| {
        let required = fields.get("required").and_then(Value::as_array);
        let is_listed = |name: &Value| name.as_str().is_none_or(|name| properties.contains_key(name));
        required.is_none_or(|required| required.iter().all(is_listed))
    };
    let is_open =
        !["additionalProperties", "patternProperties", "minProperties"].iter().any(|name| fields.contains_key(*name));
    if is_open && fields.get("properties").and_then(Value::as_object).is_some_and(lists_all) {
        fields.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    for (keyword, value) in fields.iter_mut() {
        match value {
            Value::Array(list) if IN_LISTS.contains(&keyword.as_str()) => list.iter_mut().for_each(narrow_all),
            Value::Object(named) if BY_NAMES.contains(&keyword.as_str()) => named.values_mut().for_each(narrow_all),
            value if INSIDE.contains(&keyword.as_str()) => narrow_all(value),
            _ => {}
        }
    }
}

/// A whole number has no more digits than programs read exactly, where the schema says nothing of its size.
fn bound_digits(fields: &mut Map<String, Value>) {
    const MOST: i64 = 999_999_999_999_999;
    if fields.get("type") != Some(&Value::from("integer"))
        || fields.contains_key("enum")
        || fields.contains_key("const")
    {
        return;
    }
    let bound = |names: [&str; 2]| {
        names
            .iter()
            .filter_map(|name| fields.get(*name))
            .all(|bound| bound.as_f64().is_some_and(|bound| bound.abs() < MOST as f64))
    };
    let (low, high) = (["minimum", "exclusiveMinimum"], ["maximum", "exclusiveMaximum"]);
    if !bound(low) || !bound(high) {
        return;
    }
    for (names, most) in [(low, -MOST), (high, MOST)] {
        if !names.iter().any(|name| fields.contains_key(*name)) {
            fields.insert(names[0].to_owned(), Value::from(most));
        }
    }
}

/// How many schemas stand in one another at most, where what is referred to stands in the place of its reference. One that
/// stands in itself counts once.
fn depth(root: &Value) -> usize {
    /// `known`: depths of schemas by where they are; 0 for those that are being looked at.
    fn of(root: &Value, schema: &Value, from: usize, known: &mut HashMap<*const Value, usize>) -> usize {
        let Value::Object(fields) = schema else { return 1 };
        let key = std::ptr::from_ref(schema);
        if let Some(depth) = known.get(&key) {
            return *depth;
        }
        // Deep enough to be refused, and no deeper than the stack allows.
        if from > MAX_DEPTH {
            return 1;
        }
        known.insert(key, 0);
        let mut deepest = 0;
        let mut look = |schema: &Value| deepest = deepest.max(of(root, schema, from + 1, known));
        for (keyword, value) in fields {
            match (keyword.as_str(), value) {
                ("$ref", Value::String(reference)) => {
                    let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
                    target.into_iter().for_each(&mut look);
                }
                (keyword, Value::Array(list)) if IN_LISTS.contains(&keyword) => list.iter().for_each(&mut look),
                (keyword, Value::Object(named)) if BY_NAMES.contains(&keyword) => named.values().for_each(&mut look),
                (keyword, value) if INSIDE.contains(&keyword) => look(value),
                _ => {}
            }
        }
        known.insert(key, deepest + 1);
        deepest + 1
    }
    of(root, root, 0, &mut HashMap::new())
}

/// Shows every schema in a schema, the inner ones first.
fn every<'a>(schema: &'a Value, place: &mut Vec<String>, show: &mut impl FnMut(&'a Map<String, Value>, &[String])) {
    let Value::Object(fields) = schema else { return };
    for (keyword, value) in fields {
        place.push(keyword.clone());
        match value {
            Value::Array(list) if IN_LISTS.contains(&keyword.as_str()) => {
                for (i, schema) in list.iter().enumerate() {
                    place.push(i.to_string());
                    every(schema, place, show);
                    place.pop();
                }
            }
            Value::Object(named) if BY_NAMES.contains(&keyword.as_str()) => {
                for (name, schema) in named {
                    place.push(name.clone());
                    every(schema, place, show);
                    place.pop();
                }
            }
            value if INSIDE.contains(&keyword.as_str()) => every(value, place, show),
            _ => {}
        }
        place.pop();
    }
    show(fields, place);
}

/// The keyword without which the smallest part that is refused would not be.
fn culprit(schema: &Value, compiles: Compiles<'_>) -> Option<(Vec<String>, &'static str)> {
    let began = Instant::now();
    let compiles = &|part: &Value| if began.elapsed() < SEARCH_TIME { compiles(part) } else { Ok(()) };
    let mut parts = Vec::new();
    every(schema, &mut Vec::new(), &mut |fields, place| parts.push((fields.clone(), place.to_vec())));
    let (fields, place) = parts.into_iter().take(MAX_TRIED).find(|(fields, _)| !alone(schema, fields, compiles))?;
    let is_it = |keyword: &&str| {
        let mut without = fields.clone();
        without.shift_remove(*keyword).is_some() && alone(schema, &without, compiles)
    };
    KEPT.into_iter().find(is_it).map(|keyword| (place, keyword))
}

/// Whether a part can be kept by itself, with what it may refer to.
fn alone(schema: &Value, fields: &Map<String, Value>, compiles: Compiles<'_>) -> bool {
    let mut part = fields.clone();
    for name in ["$defs", "definitions", "$schema"] {
        if let (Some(value), false) = (schema.get(name), part.contains_key(name)) {
            part.insert(name.to_owned(), value.clone());
        }
    }
    compiles(&Value::Object(part)).is_ok()
}

fn leave_out(schema: &mut Value, place: &[String], keyword: &str) {
    let pointer = at(place, &[]);
    if let Some(Value::Object(fields)) = schema.pointer_mut(&pointer[1..]) {
        let removed = fields.shift_remove(keyword);
        // One of them, or several.
        if let ("oneOf", Some(choices)) = (keyword, removed) {
            fields.entry("anyOf").or_insert(choices);
        }
    }
}

/// A place as a JSON pointer in a fragment.
fn at(place: &[String], more: &[&str]) -> String {
    let parts = place.iter().map(String::as_str).chain(more.iter().copied());
    parts.fold("#".to_owned(), |at, part| at + "/" + &part.replace('~', "~0").replace('/', "~1"))
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}
