//! How a task's answers are scored, and what is wanted of them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::choice::{self, Choices};
use super::exact::ExactMatch;
use super::item::Wanted;
use super::spec::{Metric, Spec};
use crate::prompt;
use crate::prompt::template::expression::FieldExpression;
use crate::prompt::template::fields::{FieldError, FieldTemplate};

/// An answer of more tokens is a mistake.
const MAX_TOKENS: usize = 1 << 16;

/// The scores of a loss.
pub(super) const BITS_PER_BYTE: &str = "bits_per_byte";
pub(super) const NATS_PER_TOKEN: &str = "nats_per_token";

/// What a metric is made of.
#[derive(Debug)]
pub(super) enum Scoring {
    Exact { exact: ExactMatch, answer: FieldTemplate, references: Option<FieldExpression> },
    Choice { choices: FieldExpression, labels: Option<FieldExpression>, answer: FieldExpression },
    Loss { text: FieldTemplate },
    Completion { id: FieldTemplate },
}

/// A number by which contenders are held against one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score<'a> {
    pub name: &'a str,
    pub unit: Unit,
}

/// What a score counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share of the items, from 0 to 1.
    Share,
    Nats,
    Bits,
}

impl Unit {
    /// 1 where more is better, −1 where less is.
    #[must_use]
    pub fn sign(self) -> f64 {
        if self == Self::Share { 1.0 } else { -1.0 }
    }
}

impl Scoring {
    pub fn new(spec: &Spec) -> Result<Self, String> {
        let missing = |key: &str| format!("there is no {key}, which the metric {} needs", spec.metric.name());
        let answer = || spec.answer.as_deref().ok_or_else(|| missing("answer"));
        let max_tokens = || match spec.max_tokens {
            None => Err(missing("max_tokens")),
            Some(n) if (1..=MAX_TOKENS).contains(&n) => Ok(()),
            Some(n) => Err(format!("max_tokens is {n}, expected 1 to {MAX_TOKENS}")),
        };
        Ok(match spec.metric {
            Metric::ExactMatch => {
                max_tokens()?;
                let names: BTreeSet<_> = spec.filters.iter().map(|filter| filter.name.as_str()).collect();
                if names.is_empty() || names.len() < spec.filters.len() {
                    return Err("expected one [[filter]] or more, each with a name of its own".to_owned());
                }
                if spec.references.is_some() && spec.reference.is_some() {
                    return Err("expected references or reference, and not both".to_owned());
                }
                Self::Exact {
                    exact: ExactMatch::new(&spec.filters, &spec.normalise.clone().unwrap_or_default())?,
                    answer: template("answer", answer()?)?,
                    references: spec.references.as_deref().map(|text| expression("references", text)).transpose()?,
                }
            }
            Metric::MultipleChoice => Self::Choice {
                choices: expression("choices", spec.choices.as_deref().ok_or_else(|| missing("choices"))?)?,
                labels: spec.labels.as_deref().map(|text| expression("labels", text)).transpose()?,
                answer: expression("answer", answer()?)?,
            },
            Metric::Loss => Self::Loss { text: template("answer", answer()?)? },
            Metric::Completion => {
                max_tokens()?;
                Self::Completion { id: template("id", spec.id.as_deref().ok_or_else(|| missing("id"))?)? }
            }
        })
    }

    pub fn exact(&self) -> Option<&ExactMatch> {
        if let Self::Exact { exact, .. } = self { Some(exact) } else { None }
    }

    /// Whether answers are written, and not given.
    pub fn is_written(&self) -> bool {
        matches!(self, Self::Exact { .. } | Self::Completion { .. })
    }

    /// What it measures, in order.
    pub fn scores(&self) -> Vec<Score<'_>> {
        let share = |name| Score { name, unit: Unit::Share };
        match self {
            Self::Exact { exact, .. } => exact.names().map(share).collect(),
            Self::Choice { .. } => choice::SCORES.map(share).to_vec(),
            Self::Loss { .. } => {
                let nats = Score { name: NATS_PER_TOKEN, unit: Unit::Nats };
                vec![nats, Score { name: BITS_PER_BYTE, unit: Unit::Bits }]
            }
            Self::Completion { .. } => Vec::new(),
        }
    }

    /// The score by which contenders are compared unless a task says otherwise.
    pub fn compared_by(&self) -> Option<Score<'_>> {
        let scores = self.scores();
        if matches!(self, Self::Choice { .. }) { scores.first().copied() } else { scores.last().copied() }
    }

    /// The right answer as an example shows it.
    pub fn shown(&self, fields: &Map<String, Value>) -> Result<String, String> {
        match self {
            Self::Exact { answer, .. } => answer.render(fields).map_err(|error| words(&error)),
            Self::Choice { choices, labels, answer } => {
                let Choices { texts, right } = chosen(choices, labels.as_ref(), answer, fields)?;
                let right = texts.into_iter().zip(right).find_map(|(text, is_right)| is_right.then_some(text));
                Ok(right.unwrap_or_default())
            }
            Self::Loss { .. } | Self::Completion { .. } => Ok(String::new()),
        }
    }

    pub fn wanted(&self, spec: &Spec, fields: &Map<String, Value>) -> Result<Wanted, String> {
        Ok(match self {
            Self::Exact { references: Some(references), .. } => {
                let references = choice::texts("references", &evaluate(references, fields)?)?;
                if references.is_empty() {
                    return Err("references is an empty list, expected one right answer or more".to_owned());
                }
                Wanted::References(references)
            }
            Self::Exact { exact, answer, references: None } => {
                let answer = answer.render(fields).map_err(|error| words(&error))?;
                let reference = match &spec.reference {
                    None => answer,
                    Some(filter) => exact.extract(filter, &answer).ok_or_else(|| {
                        format!("the filter {filter:?}, which finds the reference, finds nothing in its answer")
                    })?,
                };
                Wanted::References(vec![reference])
            }
            Self::Choice { choices, labels, answer } => {
                Wanted::Choice(chosen(choices, labels.as_ref(), answer, fields)?)
            }
            Self::Loss { text } => {
                let text = text.render(fields).map_err(|error| words(&error))?;
                if text.is_empty() {
                    return Err("the answer is empty, expected a text to predict".to_owned());
                }
                Wanted::Text(text)
            }
            Self::Completion { id } => Wanted::Completion { id: id.render(fields).map_err(|error| words(&error))? },
        })
    }
}

/// The choices of an item.
fn chosen(
    choices: &FieldExpression,
    labels: Option<&FieldExpression>,
    answer: &FieldExpression,
    fields: &Map<String, Value>,
) -> Result<Choices, String> {
    let labels = labels.map(|labels| evaluate(labels, fields)).transpose()?;
    Choices::new(&evaluate(choices, fields)?, labels.as_ref(), &evaluate(answer, fields)?)
}

pub(super) fn template(key: &str, text: &str) -> Result<FieldTemplate, String> {
    FieldTemplate::new(text).map_err(|error| not_jinja(key, "template", error))
}

fn expression(key: &str, text: &str) -> Result<FieldExpression, String> {
    FieldExpression::new(text).map_err(|error| not_jinja(key, "expression", error))
}

fn not_jinja(key: &str, what: &str, error: prompt::Error) -> String {
    match error {
        prompt::Error::Syntax { line, reason } => format!("{key} is no {what}: line {line}: {reason}"),
        error => format!("{key} is no {what}: {error}"),
    }
}

fn evaluate(expression: &FieldExpression, fields: &Map<String, Value>) -> Result<Value, String> {
    expression.evaluate(fields).map_err(|error| words(&error))
}

/// A template's fault without calling it one of a chat.
pub(super) fn words(error: &FieldError) -> String {
    match error {
        FieldError::Template(prompt::Error::Render { reason, .. }) => format!("the template fails: {reason}"),
        FieldError::Template(prompt::Error::Work) => "the template does more work than a prompt needs".to_owned(),
        error => error.to_string(),
    }
}
