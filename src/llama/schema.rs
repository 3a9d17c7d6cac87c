//! JSON schemas on their way to llama.cpp, which turns them into a grammar.
//!
//! It goes through a schema as through a tree, and through what the parts of an `allOf` refer to as if it stood there; what is
//! referred to elsewhere it reads once. Optional properties of an object become a rule for each, with all behind it in its
//! making. So small schemas can take more stack, memory and time than there is, and are refused here.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// Levels.
pub const MAX_DEPTH: usize = 64;
/// Values that llama.cpp goes through, those that it goes through again included.
const MAX_VISITS: usize = 1 << 14;
/// Properties of one object, and their names' bytes, of which its rules' names are made.
const MAX_PROPERTIES: usize = 256;
const MAX_NAME_BYTES: usize = 128;
/// References from one to the next.
const MAX_HOPS: usize = 64;

/// A schema that llama.cpp can be given, or why there is none.
pub fn check(mut schema: Value) -> Result<Value, String> {
    plain(&mut schema);
    let mut walk = Walk { root: &schema, known: HashMap::new(), open: HashSet::new() };
    walk.visits(&schema)?;
    Ok(schema)
}

/// Puts what an `allOf` of one part refers to in its place: that is how some libraries write a reference with a description
/// beside it, and it may lead back to where it stands.
fn plain(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(plain),
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(_, value)| plain(value));
            let only = fields.get("allOf").and_then(Value::as_array).filter(|parts| parts.len() == 1);
            let only = only.and_then(|parts| parts[0].get("$ref")).cloned();
            if let Some(reference) = only
                && !["properties", "$ref", "anyOf", "oneOf", "type"].iter().any(|name| fields.contains_key(*name))
            {
                fields.remove("allOf");
                fields.insert("$ref".to_owned(), reference);
            }
        }
        _ => {}
    }
}

struct Walk<'a> {
    root: &'a Value,
    /// Visits by where a value is.
    known: HashMap<*const Value, usize>,
    open: HashSet<*const Value>,
}

impl<'a> Walk<'a> {
    /// How many values llama.cpp goes through for one.
    fn visits(&mut self, value: &'a Value) -> Result<usize, String> {
        let key = std::ptr::from_ref(value);
        if let Some(n) = self.known.get(&key) {
            return Ok(*n);
        }
        if !self.open.insert(key) {
            return Err("an `allOf` leads back to itself".to_owned());
        }
        let mut n = 1_usize;
        match value {
            Value::Array(list) => {
                for value in list {
                    n = n.saturating_add(self.visits(value)?);
                }
            }
            Value::Object(fields) => {
                for value in fields.values() {
                    n = n.saturating_add(self.visits(value)?);
                }
                properties(fields.get("properties").and_then(Value::as_object).into_iter())?;
                if fields.get("$ref").is_some() {
                    self.follow(value)?;
                }
                if let Some(parts) = fields.get("allOf").and_then(Value::as_array) {
                    n = n.saturating_add(self.all_of(parts)?);
                }
            }
            _ => {}
        }
        if n > MAX_VISITS {
            return Err(format!("it unfolds to more than {MAX_VISITS} parts"));
        }
        self.open.remove(&key);
        self.known.insert(key, n);
        Ok(n)
    }

    /// What the parts of an `allOf` refer to is read in its place.
    fn all_of(&mut self, parts: &'a [Value]) -> Result<usize, String> {
        let inside = |part: &'a Value| {
            let choices = ["anyOf", "oneOf"].into_iter().filter_map(|name| part.get(name)?.as_array()).flatten();
            std::iter::once(part).chain(choices)
        };
        let (mut n, mut all) = (0_usize, Vec::new());
        for part in parts.iter().flat_map(inside) {
            let target = self.follow(part)?;
            let Some(own) = target.get("properties").and_then(Value::as_object) else { continue };
            for value in own.values() {
                n = n.saturating_add(self.visits(value)?);
            }
            all.push(own);
        }
        properties(all.into_iter())?;
        Ok(n)
    }

    /// What a reference leads to in the end; of anything else itself, and of a reference that leads nowhere too, which is for
    /// llama.cpp to refuse.
    fn follow(&self, value: &'a Value) -> Result<&'a Value, String> {
        let mut at = value;
        for _ in 0..MAX_HOPS {
            let pointer = at.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
            match pointer.and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => at = target,
                None => return Ok(at),
            }
        }
        Err(format!("a reference leads to more than {MAX_HOPS} others, or back to itself"))
    }
}

/// Refuses objects of too many properties, or with too long names.
fn properties<'a>(objects: impl Iterator<Item = &'a Map<String, Value>>) -> Result<(), String> {
    let mut n = 0;
    for object in objects {
        n += object.len();
        if object.keys().any(|name| name.len() > MAX_NAME_BYTES) {
            return Err(format!("a property's name has more than {MAX_NAME_BYTES} bytes"));
        }
    }
    if n > MAX_PROPERTIES {
        return Err(format!("an object has {n} properties, at most {MAX_PROPERTIES} are accepted"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn recursive_schemas_pass() {
        let tree = json!({
            "$ref": "#/$defs/node",
            "$defs": {"node": {"type": "object", "properties": {
                "left": {"allOf": [{"$ref": "#/$defs/node"}], "description": "as pydantic has it"},
                "right": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "name": {"type": "string"},
            }}},
        });
        let checked = check(tree).expect("a tree");
        assert_eq!(checked["$defs"]["node"]["properties"]["left"]["$ref"], "#/$defs/node");
        let merged = json!({"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"b": {}}}], "$defs": {"a": {"properties": {"a": {}}}}});
        assert_eq!(check(merged.clone()), Ok(merged));
    }

    #[test]
    fn what_unfolds_without_end_is_refused() {
        let refusal = |schema: Value| check(schema).expect_err("refused");
        let round = json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
        assert!(refusal(round).contains("back to itself"));
        let inside = json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {
            "x": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}}}});
        assert!(refusal(inside).contains("`allOf` leads back"));
        let mut definitions = Map::new();
        for i in 0..40 {
            let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
            let twice = json!({"properties": {"x": {"allOf": [next, next]}}});
            definitions.insert(format!("d{i}"), twice);
        }
        definitions.insert("d40".to_owned(), json!({"properties": {"x": {}}}));
        assert!(refusal(json!({"$ref": "#/$defs/d0", "$defs": definitions})).contains("unfolds"));
        let many: Map<String, Value> = (0..300).map(|i| (format!("p{i}"), json!({}))).collect();
        assert!(refusal(json!({"properties": many})).contains("300 properties"));
        assert!(refusal(json!({"properties": {"a".repeat(200): {}}})).contains("name"));
    }
}
