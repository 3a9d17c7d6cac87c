//! A task's file: TOML.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::exact::{FilterSpec, Normalise};

/// The file. Which keys it has depends on its metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    pub description: Option<String>,
    pub metric: Metric,
    /// How the data is written.
    #[serde(default)]
    pub format: Format,
    /// The key under which an object of JSON has the list of items.
    pub items: Option<String>,
    /// Jinja over the fields of an item, or the name of a field.
    #[serde(default)]
    pub prompt: String,
    /// What every role's answer begins with, behind its own view of the prompt; `Answer:` in the paper's evaluation.
    #[serde(default)]
    pub prefix: String,
    /// The answer as the data has it: what examples show, and where the reference is. The same as `prompt`; of a choice an
    /// expression of Jinja that comes to the right choice, its label or its index from 0, or to a list of 0 and 1.
    pub answer: Option<String>,
    /// Items with answers that stand in front of every prompt.
    #[serde(default, rename = "example")]
    pub examples: Vec<Map<String, Value>>,

    /// Expressions of Jinja that come to lists: what there is to choose from, and what answers call it.
    pub choices: Option<String>,
    pub labels: Option<String>,

    /// Texts that end an answer.
    #[serde(default)]
    pub stop: Vec<String>,
    /// Tokens of an answer that is written.
    pub max_tokens: Option<usize>,
    /// The name of an item in a file of completions: Jinja, or the name of a field.
    pub id: Option<String>,
    /// An expression of Jinja that comes to a list of right answers.
    pub references: Option<String>,
    /// The filter that finds the reference in the answer of the data; without one all of it is the reference.
    pub reference: Option<String>,
    /// The score by which contenders are compared; without one the last filter, `acc`, or `bits_per_byte`.
    pub compare: Option<String>,
    pub normalise: Option<Normalise>,
    #[serde(default, rename = "filter")]
    pub filters: Vec<FilterSpec>,
}

/// How answers are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// What filters find in an answer that is written, held against a reference.
    ExactMatch,
    /// Which of several given answers is the most probable.
    MultipleChoice,
    /// How well a text is predicted.
    Loss,
    /// Programs that are written, to be run by somebody else.
    Completion,
}

/// How data is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON lines, one object each, or one list of objects.
    #[default]
    Json,
    /// `#Q question`, `^ answer`, and lines of `A choice`; an empty line between two items.
    OpenTriviaQa,
    /// A text, cut into passages at empty lines.
    Text,
}

impl Spec {
    /// The keys that only some metrics have, of those that are there.
    pub(super) fn special(&self) -> impl Iterator<Item = (&'static str, &'static [Metric])> {
        const EXACT: &[Metric] = &[Metric::ExactMatch];
        const CHOICE: &[Metric] = &[Metric::MultipleChoice];
        const WRITTEN: &[Metric] = &[Metric::ExactMatch, Metric::Completion];
        const SCORED: &[Metric] = &[Metric::ExactMatch, Metric::MultipleChoice, Metric::Loss];
        const GIVEN: &[Metric] = &[Metric::ExactMatch, Metric::MultipleChoice];
        [
            ("choices", CHOICE, self.choices.is_some()),
            ("labels", CHOICE, self.labels.is_some()),
            ("stop", WRITTEN, !self.stop.is_empty()),
            ("max_tokens", WRITTEN, self.max_tokens.is_some()),
            ("id", &[Metric::Completion], self.id.is_some()),
            ("answer", SCORED, self.answer.is_some()),
            ("example", GIVEN, !self.examples.is_empty()),
            ("references", EXACT, self.references.is_some()),
            ("reference", EXACT, self.reference.is_some()),
            ("compare", SCORED, self.compare.is_some()),
            ("normalise", EXACT, self.normalise.is_some()),
            ("filter", EXACT, !self.filters.is_empty()),
        ]
        .into_iter()
        .filter(|(.., is_there)| *is_there)
        .map(|(key, metrics, _)| (key, metrics))
    }
}

impl Format {
    /// What data of it look like.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Json => {
                "the data is JSONL: one object a line, with the fields that the task names; or one list of such objects"
            }
            Self::OpenTriviaQa => {
                "the data is OpenTriviaQA's: `#Q question`, `^ answer`, and lines of `A choice`, for each item"
            }
            Self::Text => "the data is a text of a few sentences or more",
        }
    }
}

impl Metric {
    /// As a file spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::MultipleChoice => "multiple_choice",
            Self::Loss => "loss",
            Self::Completion => "completion",
        }
    }
}
