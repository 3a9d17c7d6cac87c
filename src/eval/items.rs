//! The items of a data set.

use super::TaskError;
use super::data;
use super::item::Item;
use super::task::Task;

/// The first `limit` items of a text, or all. `name` is for the errors.
pub fn read(task: &Task, text: &str, name: &str, limit: Option<usize>) -> Result<Vec<Item>, TaskError> {
    let format = task.spec.format;
    let at = |place: data::Place, reason: String| TaskError::Data { data: name.to_owned(), format, place, reason };
    let mut items = Vec::new();
    for found in data::items(&task.spec, text).take(limit.unwrap_or(usize::MAX)) {
        let (place, fields) = found.map_err(|(place, reason)| at(place, reason))?;
        items.push(task.item(&fields).map_err(|reason| at(place, reason))?);
    }
    if items.is_empty() {
        return Err(TaskError::NoItem { data: name.to_owned(), format });
    }
    Ok(items)
}
