//! The items of a data set: JSONL, one object a line.

use serde_json::{Map, Value};

use super::TaskError;
use super::task::Task;

/// What is asked, and what a right answer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub prompt: String,
    pub reference: String,
}

/// The first `limit` items of a text, or all. `name` is for the errors, which count lines from 1; empty lines are none.
pub fn read(task: &Task, text: &str, name: &str, limit: Option<usize>) -> Result<Vec<Item>, TaskError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let item = |(i, line): (usize, &str)| {
        let at_line = |reason: String| TaskError::Line { data: name.to_owned(), line: i + 1, reason };
        let fields = object(line).map_err(at_line)?;
        Ok(Item {
            prompt: task.prompt(&fields).map_err(at_line)?,
            reference: task.reference(&fields).map_err(at_line)?,
        })
    };
    let items: Vec<_> = lines.take(limit.unwrap_or(usize::MAX)).map(item).collect::<Result<_, _>>()?;
    if items.is_empty() {
        return Err(TaskError::NoItem { data: name.to_owned() });
    }
    Ok(items)
}

fn object(line: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err("expected an object, as in {\"question\": …}".to_owned()),
        Err(error) => Err(format!("expected JSON, at column {}: {error}", error.column())),
    }
}
