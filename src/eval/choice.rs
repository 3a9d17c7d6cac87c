//! Multiple choice by log-likelihood, as lm-evaluation-harness scores it.

use serde_json::Value;

use crate::arithmetic::softmax;

/// What there is to choose from, and what is right of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    pub texts: Vec<String>,
    pub right: Vec<bool>,
}

/// The names of the scores, in the order of [`Choices::scores`].
pub const SCORES: [&str; 3] = ["acc", "acc_norm", "mc2"];

impl Choices {
    /// As a data set has them: texts, and an answer that is a label, one of the texts, an index from 0, or a list that says
    /// of each whether it is right.
    pub fn new(choices: &Value, labels: Option<&Value>, answer: &Value) -> Result<Self, String> {
        let texts = self::texts("choices", choices)?;
        if texts.len() < 2 || texts.iter().any(String::is_empty) {
            return Err(format!("choices is {}, expected two texts or more, none of them empty", Value::from(texts)));
        }
        let labels = labels.map(|labels| self::texts("labels", labels)).transpose()?;
        let known = labels.as_ref().unwrap_or(&texts);
        if known.len() != texts.len() {
            return Err(format!("there are {} labels for {} choices", known.len(), texts.len()));
        }
        let named = |name: &str| known.iter().map(|known| known == name).collect::<Vec<_>>();
        let right = match answer {
            Value::Array(right) => right.iter().map(is_right).collect::<Option<Vec<_>>>().unwrap_or_default(),
            Value::String(name) => named(name),
            Value::Number(number) if labels.is_some() => named(&number.to_string()),
            Value::Number(number) if texts.contains(&number.to_string()) => {
                return Err(format!(
                    "answer is {number}, which may be a choice or an index: expected labels, or `answer | string`"
                ));
            }
            Value::Number(number) => (0..texts.len()).map(|i| number.as_u64() == Some(i as u64)).collect(),
            _ => Vec::new(),
        };
        if right.len() != texts.len() || !right.contains(&true) {
            let what = match (answer, &labels) {
                (Value::Array(_), _) => {
                    format!("{} numbers, one for each choice, each 0 or 1 and one of them 1", texts.len())
                }
                (_, Some(labels)) => format!("one of the labels {}", labels.join(", ")),
                (_, None) => format!("one of the choices, or an index from 0 to {}", texts.len() - 1),
            };
            return Err(format!("answer is {answer}, expected {what}"));
        }
        Ok(Self { texts, right })
    }

    /// 1 where the most probable choice is right, else 0; the same with every log-probability divided by the choice's
    /// number of characters; and the share that right choices have of the probability of all. Of equal ones the first
    /// counts. `logprobs`: the natural logarithm of each choice's probability.
    #[must_use]
    pub fn scores(&self, logprobs: &[f64]) -> [f64; 3] {
        let is_right = |scored: &[f64]| {
            let best = (0..scored.len()).reduce(|best, other| if scored[other] > scored[best] { other } else { best });
            f64::from(u8::from(best.is_some_and(|best| self.right[best])))
        };
        let lengths = self.texts.iter().map(|text| text.chars().count().max(1) as f64);
        let by_length: Vec<_> = logprobs.iter().zip(lengths).map(|(logprob, length)| logprob / length).collect();
        let right = logprobs.iter().zip(&self.right).filter(|(_, is_right)| **is_right).map(|(logprob, _)| *logprob);
        let mc2 = (softmax::log_sum(right) - softmax::log_sum(logprobs.iter().copied())).exp();
        [is_right(logprobs), is_right(&by_length), mc2]
    }
}

fn is_right(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(is_right) => Some(*is_right),
        Value::Number(number) => [(Some(0), false), (Some(1), true)]
            .into_iter()
            .find_map(|(n, is_right)| (number.as_u64() == n).then_some(is_right)),
        _ => None,
    }
}

/// A list of texts or numbers.
pub(super) fn texts(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let texts = value.as_array().and_then(|values| values.iter().map(text).collect::<Option<Vec<_>>>());
    texts.ok_or_else(|| format!("{key} is {value}, expected a list of texts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(texts: &[&str], right: &[bool]) -> Choices {
        Choices { texts: texts.iter().map(|&text| text.to_owned()).collect(), right: right.to_vec() }
    }

    #[test]
    fn scores_by_hand() {
        let one = choices(&["a", "four", "äöüß"], &[false, true, false]);
        // −1, −2 and −3 by themselves; −1, −0.5 and −0.75 by length.
        let [acc, acc_norm, mc2] = one.scores(&[-1.0, -2.0, -3.0]);
        assert_eq!((acc, acc_norm), (0.0, 1.0));
        let expected = (-2.0_f64).exp() / ((-1.0_f64).exp() + (-2.0_f64).exp() + (-3.0_f64).exp());
        assert!((mc2 - expected).abs() < 1e-15, "{mc2}");
        let several = choices(&["a", "b", "c"], &[true, false, true]);
        let [acc, _, mc2] = several.scores(&[-2000.0, -2001.0, -2000.0]);
        assert!(
            (mc2 - 2.0 / (2.0 + (-1.0_f64).exp())).abs() < 1e-12,
            "as small as probabilities of long texts are: {mc2}"
        );
        assert_eq!(acc, 1.0);
        // The first of two equal ones, and nobody's that has no probability.
        assert_eq!(choices(&["a", "b"], &[false, true]).scores(&[-1.0, -1.0])[0], 0.0);
        assert_eq!(choices(&["a", "b"], &[false, true]).scores(&[f64::NEG_INFINITY, -1.0]), [1.0, 1.0, 1.0]);
    }
}
