//! Calls of tools as a grammar of llguidance's.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::culprit::Compiles;
use super::form::Calls;
use super::narrow::TYPED;
use super::schema::{self, MAX_BYTES, Schema};
use crate::prompt::Choice;
use crate::prompt::calls::AROUND;

/// The grammar, and what of the tools' schemas it does not keep.
pub(super) fn lark(calls: &Calls, compiles: Compiles<'_>) -> Result<(String, Vec<String>), String> {
    calls.toolbox.check()?;
    let marks = calls.style.marks();
    let spell = |text: &str| spelled(text, &calls.named);
    let mut notes = Vec::new();
    let mut rules = String::new();
    let mut add = |name: &str, rule: &str| {
        // Writing to a text cannot fail.
        let _ = writeln!(rules, "{name}: {rule}");
    };
    let (mut names, mut callable) = (Vec::new(), Vec::new());
    for (i, tool) in calls.toolbox.callable().enumerate() {
        let told = |words: String| format!("the parameters of {}: {words}", tool.name);
        if tool.parameters.to_string().len() > MAX_BYTES {
            return Err(told(format!("at most {MAX_BYTES} bytes are accepted")));
        }
        let parameters = of_object(tool.parameters.clone());
        let Schema { value, notes: dropped, .. } =
            schema::kept_value(parameters, !tool.strict, compiles).map_err(told)?;
        notes.extend(dropped.into_iter().map(told));
        let opening = [marks.open, &tool.name, marks.between].concat();
        let arguments = schema::written(value).to_string();
        add(&format!("call_{i}"), &format!("{} %json {arguments} {}", spell(&opening), spell(marks.close)));
        names.push(format!("call_{i}"));
        callable.push((tool.name.as_str(), arguments));
    }
    add("call", &names.join(" | "));
    let more = match marks.next.filter(|_| calls.toolbox.parallel) {
        Some(next) => format!("({} call){{0,{MAX_MORE}}}", spell(next)),
        None => String::new(),
    };
    let behind = |begin: &str| format!("{} call {more} {}", spell(begin), spell(marks.end));
    if calls.toolbox.choice != Choice::Auto {
        add("start", &behind(marks.begin));
        return Ok((rules, notes));
    }
    if let Some(answer) = &calls.answer {
        let Schema { value, notes: dropped, .. } = schema::kept(answer, compiles)?;
        notes.extend(dropped);
        add("answer", &format!("%json {}", schema::written(value)));
        add("start", &format!("answer | {}", behind(marks.begin)));
        return Ok((rules, notes));
    }
    let rest = &marks.begin[marks.trigger.len()..];
    let trigger = calls.named.iter().find(|(name, _)| *name == marks.trigger);
    if let Some((_, id)) = trigger {
        add("WORDS", r"/(.|\n)+/");
        add("start", &format!("WORDS? (<[{id}]> {})?", behind(rest)));
        return Ok((rules, notes));
    }
    // Whatever ends words ends them as soon as it is written, so that what follows is a call.
    let (mut ends, mut starts) = (Vec::new(), Vec::new());
    if !marks.trigger.is_empty() {
        let trigger = escaped(marks.trigger);
        add("to_call[lazy]", &format!(r"/(.|\n)*{trigger}/"));
        ends.push(trigger);
        starts.push(format!("to_call {}", behind(rest)));
    }
    if calls.style.is_json() {
        let mut openings = (Vec::new(), Vec::new());
        // What the reader passes over, and no more than a model writes that comes to an end.
        let around = AROUND.map(escaped).join("|");
        let around = format!(r"(\s|{around}){{0,{MAX_AROUND}}}");
        for (i, (tool, arguments)) in callable.iter().enumerate() {
            let opening = format!(r#"\{{\s*"name"\s*:\s*"{}"\s*,\s*"(arguments|parameters)"\s*:"#, escaped(tool));
            add(&format!("to_{i}[lazy]"), &format!(r"/(.|\n)*{opening}/"));
            add(&format!("next_{i}[lazy]"), &format!("/{around}{opening}/"));
            add(&format!("bare_{i}"), &format!("\" \"? %json {arguments} CLOSE"));
            openings.0.push(format!("to_{i} bare_{i}"));
            openings.1.push(format!("next_{i} bare_{i}"));
            ends.push(opening);
        }
        add("CLOSE", r"/\s{0,8}\}/");
        add("BEHIND", &format!("/{around}/"));
        let more = if calls.toolbox.parallel {
            format!("({}){{0,{MAX_MORE}}}", openings.1.join(" | "))
        } else {
            String::new()
        };
        starts.push(format!("({}) {more} BEHIND?", openings.0.join(" | ")));
    }
    add("WORDS", &format!(r"/(.|\n)+/ & ~/(.|\n)*({})(.|\n)*/", ends.join("|")));
    add("start", &format!("\"\" | WORDS | {}", starts.join(" | ")));
    Ok((rules, notes))
}

/// Calls behind the first: a model that repeats itself comes to an end.
const MAX_MORE: usize = 15;
/// Marks and white space around a call.
const MAX_AROUND: usize = 12;

/// A schema of an object, which arguments are.
fn of_object(schema: Value) -> Value {
    match schema {
        Value::Object(mut fields) => {
            let is_typed = TYPED.iter().any(|name| fields.contains_key(*name));
            if !is_typed {
                fields.insert("type".to_owned(), json!("object"));
            }
            // Some clients describe a function without arguments so.
            if fields.get("type") == Some(&json!("object")) && !is_typed_further(&fields) {
                fields.insert("properties".to_owned(), Value::Object(Map::new()));
            }
            Value::Object(fields)
        }
        other => other,
    }
}

fn is_typed_further(fields: &Map<String, Value>) -> bool {
    fields.keys().any(|name| !["type", "title", "description", "$schema", "required"].contains(&name.as_str()))
}

/// A text as a grammar has it, names of control tokens as the tokens.
fn spelled(text: &str, named: &[(&'static str, u32)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let found = named.iter().filter_map(|(name, id)| Some((rest.find(name)?, *name, *id))).min();
        let at = found.map_or(rest.len(), |(at, ..)| at);
        if at > 0 {
            let _ = write!(out, "{} ", Value::from(&rest[..at]));
        }
        rest = &rest[at..];
        if let Some((_, name, id)) = found {
            let _ = write!(out, "<[{id}]> ");
            rest = &rest[name.len()..];
        }
    }
    out
}

/// A text in a regular expression.
fn escaped(text: &str) -> String {
    let one = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\x{:02X}", u32::from(c)) };
    text.chars().map(one).collect()
}
