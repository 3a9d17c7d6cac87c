//! Of what a schema describes, what its writer had in mind. Every document that is left is one that the schema describes.

use serde_json::{Map, Value};

use super::pattern::as_javascript_has_it;
use super::walk::{change, every};

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
pub(super) const TYPED: [&str; 7] = ["type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf"];
/// Whole numbers of more digits are not read exactly by every program.
const MOST: i64 = 999_999_999_999_999;

/// Makes a schema one of objects where it speaks of properties and names no type, and of an object those that it lists and no
/// others, since a model that may name properties without end does. Not where schemas are combined: what one of them does not
/// list another may. Patterns are written as Rust has them.
pub(super) fn narrow(schema: &mut Value) {
    let combines = every(schema).into_iter().any(|(_, fields)| combines(fields));
    change(schema, &mut |fields| {
        translate_patterns(fields);
        bound_digits(fields);
        if !combines {
            name_type(fields);
            close(fields);
        }
    });
}

fn combines(fields: &Map<String, Value>) -> bool {
    let has = |name: &&str| fields.contains_key(*name);
    let own = ["properties", "patternProperties", "additionalProperties", "required", "minProperties"];
    has(&"allOf") || (["anyOf", "oneOf", "$ref"].iter().any(has) && own.iter().any(has))
}

fn name_type(fields: &mut Map<String, Value>) {
    let has = |name: &&str| fields.contains_key(*name);
    if TYPED.iter().any(has) {
        return;
    }
    let spoken: Vec<_> = OF_TYPES.into_iter().filter(|(_, names)| names.iter().any(has)).collect();
    if let [(kind, _)] = spoken[..] {
        fields.insert("type".to_owned(), Value::from(kind));
    }
}

fn close(fields: &mut Map<String, Value>) {
    let Some(properties) = fields.get("properties").and_then(Value::as_object) else { return };
    let is_listed = |name: &Value| name.as_str().is_none_or(|name| properties.contains_key(name));
    let lists_all = fields.get("required").and_then(Value::as_array).is_none_or(|names| names.iter().all(is_listed));
    let says_more = ["additionalProperties", "patternProperties", "minProperties"];
    if lists_all && !says_more.iter().any(|name| fields.contains_key(*name)) {
        fields.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
}

/// A number that is counted, whole or a multiple, has no more digits than programs read exactly, where the schema says nothing of
/// its size.
fn bound_digits(fields: &mut Map<String, Value>) {
    let is_counted = fields.get("type") == Some(&Value::from("integer")) || fields.contains_key("multipleOf");
    if !is_counted || fields.contains_key("enum") || fields.contains_key("const") {
        return;
    }
    let (low, high) = (["minimum", "exclusiveMinimum"], ["maximum", "exclusiveMaximum"]);
    let is_small = |name: &&str| {
        let bound = fields.get(*name);
        bound.is_none_or(|bound| bound.as_f64().is_some_and(|bound| bound.abs() < MOST as f64))
    };
    if !low.iter().chain(&high).all(is_small) {
        return;
    }
    for (names, most) in [(low, -MOST), (high, MOST)] {
        if !names.iter().any(|name| fields.contains_key(*name)) {
            fields.insert(names[0].to_owned(), Value::from(most));
        }
    }
}

fn translate_patterns(fields: &mut Map<String, Value>) {
    if let Some(Value::String(pattern)) = fields.get_mut("pattern") {
        *pattern = as_javascript_has_it(pattern);
    }
    if let Some(Value::Object(by_pattern)) = fields.get_mut("patternProperties") {
        let named = std::mem::take(by_pattern);
        by_pattern.extend(named.into_iter().map(|(pattern, schema)| (as_javascript_has_it(&pattern), schema)));
    }
}
