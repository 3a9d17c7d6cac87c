//! A task: how items of a data set become prompts, and how answers are scored. On disk a TOML file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::TaskError;
use super::exact::ExactMatch;
use super::item::Item;
use super::scoring::{Score, Scoring, template, words};
use super::spec::{Format, Metric, Spec};
use crate::prompt::template::fields::FieldTemplate;
use crate::recipe::file::{TASKS, find, folders};
use crate::text_file;

/// A longer file is no task.
const MAX_BYTES: u64 = 1 << 20;

/// Between a prompt and its answer, and between an example and what follows, as in lm-evaluation-harness.
pub(super) const BEFORE_ANSWER: &str = " ";
const BEHIND_EXAMPLE: &str = "\n\n";

/// A task that can be run.
#[derive(Debug)]
pub struct Task {
    /// The file's name without its end.
    pub name: String,
    pub spec: Spec,
    prompt: FieldTemplate,
    scoring: Scoring,
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
        if let Some((key, metrics)) = spec.special().find(|(_, metrics)| !metrics.contains(&spec.metric)) {
            let metrics: Vec<_> = metrics.iter().map(|metric| metric.name()).collect();
            let (metric, of) = (spec.metric.name(), metrics.join(" or "));
            return Err(format!("{key} is a key of the metric {of}, and this is one of {metric}"));
        }
        if spec.metric == Metric::Loss && spec.prompt.is_empty() && !spec.prefix.is_empty() {
            return Err("prefix is what answers begin with, and there is no prompt to be answered".to_owned());
        }
        if spec.items.is_some() && spec.format != Format::Json {
            return Err("items is a key of JSON, and the format is another".to_owned());
        }
        let prompt = template("prompt", &spec.prompt)?;
        let scoring = Scoring::new(&spec)?;
        let mut task = Self { name, spec, prompt, scoring, shown: String::new() };
        task.check_scores()?;
        let mut shown = String::new();
        for (i, example) in task.spec.examples.iter().enumerate() {
            let parts = task.prompt(example).and_then(|prompt| Ok((prompt, task.scoring.shown(example)?)));
            let (prompt, answer) = parts.map_err(|reason| format!("example {}: {reason}", i + 1))?;
            shown.extend([&prompt, task.spec.prefix.as_str(), BEFORE_ANSWER, &answer, BEHIND_EXAMPLE]);
        }
        task.shown = shown;
        Ok(task)
    }

    /// An item as this task asks it.
    pub fn item(&self, fields: &Map<String, Value>) -> Result<Item, String> {
        Ok(Item { prompt: self.prompt(fields)?, wanted: self.scoring.wanted(&self.spec, fields)? })
    }

    fn prompt(&self, fields: &Map<String, Value>) -> Result<String, String> {
        if self.spec.prompt.is_empty() {
            return Ok(self.shown.clone());
        }
        let prompt = self.prompt.render(fields).map_err(|error| words(&error))?;
        Ok(self.shown.clone() + &prompt)
    }

    /// The filters of an exact match.
    #[must_use]
    pub fn exact(&self) -> Option<&ExactMatch> {
        self.scoring.exact()
    }

    /// Tokens of an answer at most, where answers are written and not given.
    #[must_use]
    pub fn n_written(&self) -> Option<usize> {
        self.scoring.is_written().then_some(self.spec.max_tokens?)
    }

    /// What it measures, in order; nothing of completions.
    #[must_use]
    pub fn scores(&self) -> Vec<Score<'_>> {
        self.scoring.scores()
    }

    /// The score by which contenders are compared, if there is one.
    #[must_use]
    pub fn compared_by(&self) -> Option<Score<'_>> {
        match &self.spec.compare {
            Some(name) => self.scores().into_iter().find(|score| score.name == name),
            None => self.scoring.compared_by(),
        }
    }

    fn check_scores(&self) -> Result<(), String> {
        let names: Vec<_> = self.scores().iter().map(|score| score.name).collect();
        for (key, named) in [("reference", &self.spec.reference), ("compare", &self.spec.compare)] {
            if let Some(named) = named.as_ref().filter(|named| !names.contains(&named.as_str())) {
                let what = if self.exact().is_some() { "a filter" } else { "a score" };
                return Err(format!("{key} is {named:?}, expected the name of {what}: {}", names.join(", ")));
            }
        }
        Ok(())
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
    use crate::eval::choice::Choices;
    use crate::eval::item::Wanted;
    use crate::eval::scoring::Unit;

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

    fn references(task: &Task, json: &str) -> Result<Vec<String>, String> {
        match task.item(&item(json))?.wanted {
            Wanted::References(references) => Ok(references),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn items_become_prompts_behind_the_examples() {
        let examples = "[[example]]\na = 1\nb = 2\nsum = '3'\n[[example]]\na = 'x'\nb = 'y'\nsum = 5\n";
        let task = task(&format!("{SUMS}{examples}")).expect("valid");
        let json = r#"{"a": 20, "b": 22, "sum": "42"}"#;
        assert_eq!(task.prompt(&item(json)).as_deref(), Ok("Sum: 1 + 2 = 3\n\nSum: x + y = 5\n\nSum: 20 + 22 ="));
        assert_eq!(references(&task, json), Ok(vec!["42".to_owned()]));
        assert_eq!(task.compared_by(), Some(Score { name: "number", unit: Unit::Share }));
    }

    #[test]
    fn the_reference_is_what_its_filter_finds() {
        let task = task(&format!("reference = 'number'\n{SUMS}")).expect("valid");
        assert_eq!(references(&task, r#"{"a": 1, "b": 2, "sum": "that is 42."}"#), Ok(vec!["42".to_owned()]));
        let error = references(&task, r#"{"a": 1, "b": 2, "sum": "none"}"#).expect_err("no number");
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
            (SUMS.replace("answer = \"sum\"", ""), "there is no answer, which the metric exact_match needs"),
            (SUMS.replace("exact_match", "loss"), "max_tokens is a key of"),
            (
                SUMS.replace("exact_match", "multiple_choice"),
                "max_tokens is a key of the metric exact_match or completion",
            ),
            (format!("{SUMS}[[filter]]\nname = 'number'\npattern = 'x'\ntake = 'last'\n"), "a name of its own"),
        ] {
            let error = task(&text).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }

    fn choices(task: &str, json: &str) -> Result<(Vec<String>, Vec<bool>), String> {
        let spec: Spec = toml::from_str(&format!("metric = 'multiple_choice'\n{task}")).expect("a task");
        match Task::new("choice".to_owned(), spec)?.item(&item(json))?.wanted {
            Wanted::Choice(Choices { texts, right }) => Ok((texts, right)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn right_choices_go_by_label_text_index_or_list() {
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        for (task, json, right) in [
            (
                "choices = 'q.choices | map(attribute=\"text\")'\nlabels = 'q.choices | map(attribute=\"label\")'\nanswer = 'key'",
                r#"{"q": {"choices": [{"text": "a", "label": "1"}, {"text": "b", "label": "2"}]}, "key": "2"}"#,
                [false, true],
            ),
            ("choices = 'c'\nlabels = '[1, 2]'\nanswer = 'key'", r#"{"c": ["a", "b"], "key": 2}"#, [false, true]),
            ("choices = 'c'\nanswer = 'key'", r#"{"c": ["a", "b"], "key": 0}"#, [true, false]),
            ("choices = 'c'\nanswer = 'key'", r#"{"c": ["a", "b"], "key": "b"}"#, [false, true]),
            ("choices = 'mc.c'\nanswer = 'mc.l'", r#"{"mc": {"c": ["a", "b"], "l": [1, 1]}}"#, [true, true]),
            (
                "choices = 'mc.keys() | list'\nanswer = 'mc.values() | list'",
                r#"{"mc": {"a": 0, "b": 1}}"#,
                [false, true],
            ),
        ] {
            assert_eq!(choices(task, json), Ok((texts(&["a", "b"]), right.to_vec())), "{task}");
        }
        for (json, words) in [
            (r#"{"c": ["a", "b"], "key": 2}"#, "answer is 2, expected one of the choices, or an index from 0 to 1"),
            (r#"{"c": ["a", "b"], "key": [0, 0]}"#, "answer is [0,0], expected 2 numbers, one for each choice"),
            (r#"{"c": ["a", "b"], "key": [1]}"#, "answer is [1], expected 2 numbers"),
            (r#"{"c": ["a"], "key": 0}"#, "choices is [\"a\"], expected two texts or more"),
            (r#"{"c": [2, 1], "key": 1}"#, "answer is 1, which may be a choice or an index"),
            (r#"{"c": "ab", "key": 0}"#, "choices is \"ab\", expected a list of texts"),
            (r#"{"key": 0}"#, "there is no field \"c\", expected one of key"),
        ] {
            let error = choices("choices = 'c'\nanswer = 'key'", json).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
        let spec = "choices = 'c'\nanswer = 'key'\nprompt = '{{q}}'\nprefix = ':'\n[[example]]\nq = 'Q'\nc = ['x', 'y']\nkey = 1";
        let spec: Spec = toml::from_str(&format!("metric = 'multiple_choice'\n{spec}")).expect("a task");
        let task = Task::new("choice".to_owned(), spec).expect("valid");
        let item = task.item(&item(r#"{"q": "R", "c": ["a", "b"], "key": 0}"#)).expect("an item");
        assert_eq!(item.prompt, "Q: y\n\nR");
        assert_eq!(task.compared_by().map(|score| score.name), Some("acc"));
    }

    #[test]
    fn several_references_may_be_right() {
        let text = SUMS.replace("answer = \"sum\"", "answer = 'sum.value'\nreferences = 'sum.aliases'");
        let text = text.replace("'sum.value'", "'{{ sum.value }}'");
        let task = task(&text).expect("valid");
        let found = references(&task, r#"{"a": 1, "b": 2, "sum": {"value": "3", "aliases": ["3", "three"]}}"#);
        assert_eq!(found, Ok(vec!["3".to_owned(), "three".to_owned()]));
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
