//! Where schemas stand in a schema.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::form::plain;

/// In a keyword's value itself, in its list, or under its names.
const INSIDE: [&str; 3] = ["items", "additionalItems", "additionalProperties"];
const IN_LISTS: [&str; 5] = ["items", "prefixItems", "allOf", "anyOf", "oneOf"];
const BY_NAMES: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];

/// From a schema to one in it, by names and numbers.
pub(super) type Place = Vec<String>;

/// The schemas that stand in one, each with the way to it.
pub(super) fn inside(fields: &Map<String, Value>) -> Vec<(Place, &Value)> {
    let mut found = Vec::new();
    for (keyword, value) in fields {
        let name = keyword.as_str();
        match value {
            Value::Array(list) if IN_LISTS.contains(&name) => {
                found.extend(list.iter().enumerate().map(|(i, schema)| (vec![keyword.clone(), i.to_string()], schema)));
            }
            Value::Object(named) if BY_NAMES.contains(&name) => {
                found.extend(named.iter().map(|(name, schema)| (vec![keyword.clone(), name.clone()], schema)));
            }
            schema if INSIDE.contains(&name) => found.push((vec![keyword.clone()], schema)),
            _ => {}
        }
    }
    found
}

/// The same, to be changed.
pub(super) fn inside_mut(fields: &mut Map<String, Value>) -> Vec<(Place, &mut Value)> {
    let mut found = Vec::new();
    for (keyword, value) in fields {
        let name = keyword.as_str();
        if IN_LISTS.contains(&name) && value.is_array() {
            let list = value.as_array_mut().into_iter().flatten().enumerate();
            found.extend(list.map(|(i, schema)| (vec![keyword.clone(), i.to_string()], schema)));
        } else if BY_NAMES.contains(&name) && value.is_object() {
            let named = value.as_object_mut().into_iter().flatten();
            found.extend(named.map(|(name, schema)| (vec![keyword.clone(), name.clone()], schema)));
        } else if INSIDE.contains(&name) {
            found.push((vec![keyword.clone()], value));
        }
    }
    found
}

/// Every schema in a schema, the inner ones first.
pub(super) fn every(schema: &Value) -> Vec<(Place, &Map<String, Value>)> {
    fn gather<'a>(schema: &'a Value, place: &mut Place, found: &mut Vec<(Place, &'a Map<String, Value>)>) {
        let Value::Object(fields) = schema else { return };
        for (step, schema) in inside(fields) {
            let n = place.len();
            place.extend(step);
            gather(schema, place, found);
            place.truncate(n);
        }
        found.push((place.clone(), fields));
    }
    let mut found = Vec::new();
    gather(schema, &mut Vec::new(), &mut found);
    found
}

/// Changes every schema in a schema, the outer ones first.
pub(super) fn change(schema: &mut Value, with: &mut impl FnMut(&mut Map<String, Value>)) {
    let Value::Object(fields) = schema else { return };
    with(fields);
    for (_, schema) in inside_mut(fields) {
        change(schema, with);
    }
}

/// How many schemas stand in one another, up to `most` and a few more, where what is referred to stands in the place of its
/// reference. One that stands in itself counts once.
pub(super) fn depth(root: &Value, most: usize) -> usize {
    /// `known`: depths of schemas by where they are; 0 for those that are being looked at.
    fn of(root: &Value, schema: &Value, left: usize, known: &mut HashMap<*const Value, usize>) -> usize {
        let Value::Object(fields) = schema else { return 1 };
        let key = std::ptr::from_ref(schema);
        if let Some(depth) = known.get(&key) {
            return *depth;
        }
        // Deep enough, and no deeper than the stack allows.
        let Some(left) = left.checked_sub(1) else { return 1 };
        known.insert(key, 0);
        let reference = fields.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
        let referred = reference.and_then(|pointer| root.pointer(pointer));
        let all = inside(fields).into_iter().map(|(_, schema)| schema).chain(referred);
        let deepest = all.map(|schema| of(root, schema, left, known)).max().unwrap_or(0);
        known.insert(key, deepest + 1);
        deepest + 1
    }
    of(root, root, most + 1, &mut HashMap::new())
}

/// A place as a JSON pointer.
pub(super) fn pointer(place: &[String]) -> String {
    place.iter().fold(String::new(), |at, step| at + "/" + &step.replace('~', "~0").replace('/', "~1"))
}

/// A keyword's place for people to read, control characters by their numbers.
pub(super) fn shown(place: &[String], keyword: &str) -> String {
    let place: String = pointer(place).chars().flat_map(plain).collect();
    if keyword.is_empty() { format!("#{place}") } else { format!("#{place}/{keyword}") }
}
