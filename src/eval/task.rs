//! A task: how items of a data set become prompts, and how answers are scored. On disk a TOML file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::TaskError;
use super::exact::{ExactMatch, FilterSpec, Normalise};
use crate::prompt;
use crate::prompt::template::fields::{FieldError, FieldTemplate};
use crate::recipe::file::{TASKS, find, folders};
use crate::text_file;

/// A longer file is no task.
const MAX_BYTES: u64 = 1 << 20;
/// An answer of more tokens is a mistake.
const MAX_TOKENS: usize = 1 << 16;

/// Between an example's prompt and its answer, and between an example and what follows, as in lm-evaluation-harness.
const BEFORE_ANSWER: &str = " ";
const BEHIND_EXAMPLE: &str = "\n\n";

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    pub description: Option<String>,
    /// Jinja over the fields of an item, or the name of a field.
    pub prompt: String,
    /// The same for the answer as the data has it: what examples show, and where the reference is.
    pub answer: String,
    /// Texts that end an answer.
    #[serde(default)]
    pub stop: Vec<String>,
    pub max_tokens: usize,
    pub metric: Metric,
    /// The filter that finds the reference in the answer of the data; without one all of it is the reference.
    pub reference: Option<String>,
    /// The filter by which contenders are compared; without one the last.
    pub compare: Option<String>,
    #[serde(default)]
    pub normalise: Normalise,
    #[serde(rename = "filter")]
    pub filters: Vec<FilterSpec>,
    /// Items with answers that stand in front of every prompt.
    #[serde(default, rename = "example")]
    pub examples: Vec<Map<String, Value>>,
}

/// How answers are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    ExactMatch,
}

/// A task that can be run.
#[derive(Debug)]
pub struct Task {
    /// The file's name without its end.
    pub name: String,
    pub spec: Spec,
    pub exact: ExactMatch,
    prompt: FieldTemplate,
    answer: FieldTemplate,
    /// The examples as they stand in front of every prompt.
    shown: String,
}

impl Task {
    /// The task at a path, or the bundled one of that name.
    pub fn open(name: &str) -> Result<Self, TaskError> {
        let unknown = |known| TaskError::Unknown { name: name.to_owned(), known, looked_in: of_tasks().collect() };
        Self::read(&find(name, bundled).map_err(unknown)?)
    }

    fn read(path: &Path) -> Result<Self, TaskError> {
        let text = text_file::read(path, MAX_BYTES).map_err(TaskError::Text)?;
        let spec: Spec = toml::from_str(&text)
            .map_err(|source| TaskError::Toml { path: path.to_path_buf(), source: Box::new(source) })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::new(name, spec).map_err(|reason| TaskError::Invalid { path: path.to_path_buf(), reason })
    }

    /// Compiles a task; the error says what could not be run.
    pub fn new(name: String, spec: Spec) -> Result<Self, String> {
        if !(1..=MAX_TOKENS).contains(&spec.max_tokens) {
            return Err(format!("max_tokens is {}, expected 1 to {MAX_TOKENS}", spec.max_tokens));
        }
        let names: BTreeSet<_> = spec.filters.iter().map(|filter| filter.name.as_str()).collect();
        if names.is_empty() || names.len() < spec.filters.len() {
            return Err("expected one [[filter]] or more, each with a name of its own".to_owned());
        }
        for (key, named) in [("reference", &spec.reference), ("compare", &spec.compare)] {
            if let Some(named) = named.as_ref().filter(|named| !names.contains(named.as_str())) {
                let known = names.iter().copied().collect::<Vec<_>>().join(", ");
                return Err(format!("{key} is {named:?}, expected the name of a filter: {known}"));
            }
        }
        let template = |key: &str, text: &str| {
            FieldTemplate::new(text).map_err(|error| match error {
                prompt::Error::Syntax { line, reason } => format!("{key} is no template: line {line}: {reason}"),
                error => format!("{key} is no template: {error}"),
            })
        };
        let (prompt, answer) = (template("prompt", &spec.prompt)?, template("answer", &spec.answer)?);
        let exact = ExactMatch::new(&spec.filters, &spec.normalise)?;
        let mut shown = String::new();
        for (i, example) in spec.examples.iter().enumerate() {
            let of = |template: &FieldTemplate| {
                template.render(example).map_err(|error| format!("example {}: {}", i + 1, words(&error)))
            };
            shown.extend([&of(&prompt)?, BEFORE_ANSWER, &of(&answer)?, BEHIND_EXAMPLE]);
        }
        Ok(Self { name, spec, exact, prompt, answer, shown })
    }

    /// What is asked of an item.
    pub fn prompt(&self, item: &Map<String, Value>) -> Result<String, String> {
        let prompt = self.prompt.render(item).map_err(|error| words(&error))?;
        Ok(self.shown.clone() + &prompt)
    }

    /// What a right answer to an item comes to.
    pub fn reference(&self, item: &Map<String, Value>) -> Result<String, String> {
        let answer = self.answer.render(item).map_err(|error| words(&error))?;
        match &self.spec.reference {
            None => Ok(answer),
            Some(filter) => self.exact.extract(filter, &answer).ok_or_else(|| {
                format!("the filter {filter:?}, which finds the reference, finds nothing in its answer")
            }),
        }
    }

    /// The filter by which contenders are compared.
    #[must_use]
    pub fn compared_by(&self) -> &str {
        let last = self.spec.filters.last().map(|filter| filter.name.as_str());
        self.spec.compare.as_deref().or(last).unwrap_or_default()
    }
}

/// A template's fault without calling it one of a chat.
fn words(error: &FieldError) -> String {
    match error {
        FieldError::Template(prompt::Error::Render { reason, .. }) => format!("the template fails: {reason}"),
        FieldError::Template(prompt::Error::Work) => "the template does more work than a prompt needs".to_owned(),
        error => error.to_string(),
    }
}

/// Where bundled tasks lie, beside the models.
fn of_tasks() -> impl Iterator<Item = PathBuf> {
    folders().into_iter().map(|folder| folder.join(TASKS))
}

/// The tasks that go by a name, in order; of two that share one, the first that is found counts.
fn bundled() -> Vec<(String, PathBuf)> {
    let mut found = BTreeMap::new();
    for entry in of_tasks().flat_map(std::fs::read_dir).flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|end| end == "toml")
            && let Some(name) = path.file_stem()
        {
            found.entry(name.to_string_lossy().into_owned()).or_insert(path);
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMS: &str = r#"
        prompt = "Sum: {{a}} + {{b}} ="
        answer = "sum"
        max_tokens = 8
        metric = "exact_match"
        [[filter]]
        name = "number"
        pattern = '[0-9]+'
        take = "first"
    "#;

    fn task(text: &str) -> Result<Task, String> {
        let spec: Spec = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        Task::new("sums".to_owned(), spec)
    }

    fn item(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).expect("an object")
    }

    #[test]
    fn items_become_prompts_behind_the_examples() {
        let examples = "[[example]]\na = 1\nb = 2\nsum = '3'\n[[example]]\na = 'x'\nb = 'y'\nsum = 5\n";
        let task = task(&format!("{SUMS}{examples}")).expect("valid");
        let item = item(r#"{"a": 20, "b": 22, "sum": "42"}"#);
        assert_eq!(task.prompt(&item).as_deref(), Ok("Sum: 1 + 2 = 3\n\nSum: x + y = 5\n\nSum: 20 + 22 ="));
        assert_eq!((task.reference(&item).as_deref(), task.compared_by()), (Ok("42"), "number"));
    }

    #[test]
    fn the_reference_is_what_its_filter_finds() {
        let task = task(&format!("reference = 'number'\n{SUMS}")).expect("valid");
        assert_eq!(task.reference(&item(r#"{"sum": "that is 42."}"#)).as_deref(), Ok("42"));
        let error = task.reference(&item(r#"{"sum": "none"}"#)).expect_err("no number");
        assert!(error.contains("finds nothing in its answer"), "{error}");
        let error = task.prompt(&item(r#"{"a": 1, "c": 2}"#)).expect_err("no b");
        assert_eq!(error, "there is no field \"b\", expected one of a, c");
    }

    #[test]
    fn what_could_not_be_run_is_refused() {
        for (text, words) in [
            (SUMS.replace("= 8", "= 0"), "max_tokens is 0, expected 1 to 65536"),
            (
                SUMS.replace("[0-9]+", "[0-9"),
                "the pattern of the filter \"number\" is \"[0-9\": unclosed character class",
            ),
            (SUMS.replace("{{b}}", "{{b"), "prompt is no template: line 1: "),
            (format!("compare = 'strict'\n{SUMS}"), "compare is \"strict\", expected the name of a filter: number"),
            (
                format!("{SUMS}[[example]]\na = 1\nsum = 3\n"),
                "example 1: there is no field \"b\", expected one of a, sum",
            ),
            (SUMS.replace("exact_match", "bleu"), "unknown variant `bleu`"),
            (SUMS.replace("answer", "anser"), "unknown field `anser`"),
            (format!("{SUMS}[[filter]]\nname = 'number'\npattern = 'x'\ntake = 'last'\n"), "a name of its own"),
        ] {
            let error = task(&text).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_bundled_tasks_are_valid() {
        let bundled = bundled();
        assert!(bundled.iter().any(|(name, _)| name == "gsm8k"), "{bundled:?}");
        for (name, _) in &bundled {
            Task::open(name).unwrap_or_else(|error| panic!("{error}"));
        }
        let error = Task::open("no-such-task").expect_err("unknown");
        assert!(error.is_usage() && error.hint().is_some_and(|hint| hint.contains("gsm8k")), "{error}");
    }
}
