//! Exact match: what a pattern finds in an answer, held against a reference.
//!
//! As lm-evaluation-harness does it (its `regex` filter and `exact_match_hf_evaluate`), so that scores can be compared: a
//! filter takes the first or the last match, and of its groups the first that is not empty; then both sides are normalised.
//! Patterns are those of the `regex` crate, which take linear time: they have neither look-around nor back-references, and
//! `$` is the end of the text alone.

use std::borrow::Cow;

use regex::{Captures, Regex};
use serde::{Deserialize, Serialize};

/// How an answer is found in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSpec {
    pub name: String,
    pub pattern: String,
    pub take: Take,
}

/// Which of several matches counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Take {
    First,
    Last,
}

/// What does not count where answer and reference are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Normalise {
    /// Everything that these patterns match is removed, one pattern after the other.
    pub remove: Vec<String>,
    pub ignore_case: bool,
}

/// Compiled filters.
#[derive(Debug)]
pub struct ExactMatch {
    filters: Vec<(String, Regex, Take)>,
    remove: Vec<Regex>,
    ignore_case: bool,
}

/// What a filter makes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scored {
    /// `None` where the filter finds nothing, which is wrong.
    pub extracted: Option<String>,
    pub is_correct: bool,
}

impl ExactMatch {
    /// Compiles filters; the error says which pattern is none.
    pub fn new(filters: &[FilterSpec], normalise: &Normalise) -> Result<Self, String> {
        let compile = |pattern: &str, what: &str| {
            Regex::new(pattern).map_err(|error| {
                // The pattern itself and an arrow come before.
                let words = error.to_string();
                let reason = words.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                format!("the pattern of {what} is {pattern:?}: {reason}")
            })
        };
        let filter = |FilterSpec { name, pattern, take }: &FilterSpec| {
            Ok((name.clone(), compile(pattern, &format!("the filter {name:?}"))?, *take))
        };
        Ok(Self {
            filters: filters.iter().map(filter).collect::<Result<_, String>>()?,
            remove: normalise
                .remove
                .iter()
                .map(|pattern| compile(pattern, "what is removed"))
                .collect::<Result<_, _>>()?,
            ignore_case: normalise.ignore_case,
        })
    }

    /// The names of the filters, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(|(name, ..)| name.as_str())
    }

    /// What the filter of a name finds in a text, without white space around it.
    #[must_use]
    pub fn extract(&self, name: &str, text: &str) -> Option<String> {
        let (_, pattern, take) = self.filters.iter().find(|(known, ..)| known == name)?;
        find(pattern, *take, text)
    }

    /// What each filter makes of an answer, in order; it is right if it comes to any of the references.
    #[must_use]
    pub fn score(&self, answer: &str, references: &[String]) -> Vec<Scored> {
        let references: Vec<_> = references.iter().map(|reference| self.normalised(reference)).collect();
        let scored = |(_, pattern, take): &(String, Regex, Take)| {
            let extracted = find(pattern, *take, answer);
            let is_correct = extracted.as_ref().is_some_and(|found| references.contains(&self.normalised(found)));
            Scored { extracted, is_correct }
        };
        self.filters.iter().map(scored).collect()
    }

    /// What of a text counts.
    #[must_use]
    pub fn normalised(&self, text: &str) -> String {
        let left = self.remove.iter().fold(Cow::Borrowed(text), |text, pattern| {
            let replaced = match pattern.replace_all(&text, "") {
                Cow::Borrowed(_) => None,
                Cow::Owned(replaced) => Some(replaced),
            };
            replaced.map_or(text, Cow::Owned)
        });
        if self.ignore_case { left.to_lowercase() } else { left.into_owned() }
    }
}

fn find(pattern: &Regex, take: Take, text: &str) -> Option<String> {
    let mut matches = pattern.captures_iter(text);
    let found = match take {
        Take::First => matches.next(),
        Take::Last => matches.last(),
    };
    found.as_ref().and_then(value).map(|value| value.trim().to_owned())
}

/// The whole match where there is no group, a group where there is one, else the first that is not empty.
fn value<'a>(found: &Captures<'a>) -> Option<&'a str> {
    let group = |i: usize| found.get(i).map_or("", |group| group.as_str());
    match found.len() {
        1 => Some(group(0)),
        2 => Some(group(1)),
        n => (1..n).map(group).find(|group| !group.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gsm8k() -> ExactMatch {
        let filter =
            |name: &str, pattern: &str, take| FilterSpec { name: name.to_owned(), pattern: pattern.to_owned(), take };
        let filters = [
            filter("strict", r"#### (\-?[0-9\.\,]+)", Take::First),
            filter("flexible", r"(-?[$0-9.,]{2,})|(-?[0-9]+)", Take::Last),
        ];
        let remove = [",", r"\$", "(?s).*#### ", r"\.$"].map(str::to_owned).to_vec();
        ExactMatch::new(&filters, &Normalise { remove, ignore_case: true }).expect("patterns")
    }

    /// Each as lm-evaluation-harness 0.4.13 scores it with the filters of its gsm8k.yaml.
    #[test]
    fn answers_are_found_and_scored_as_by_the_harness() {
        let some = |text: &str| Some(text.to_owned());
        for (answer, reference, strict, flexible, correct) in [
            ("48/2 = 24\n#### 72", "72", some("72"), some("72"), [true, true]),
            ("#### 1,080", "1080", some("1,080"), some("1,080"), [true, true]),
            ("She has $1,080.", "1,080", None, some("$1,080."), [false, true]),
            ("#### $50", "50", None, some("$50"), [false, true]),
            ("#### 50.", "50", some("50."), some("50."), [true, true]),
            ("#### -7", "-7", some("-7"), some("-7"), [true, true]),
            ("#### 7\nQuestion two\n#### 8", "7", some("7"), some("8"), [true, false]),
            ("The answer is 5", "5", None, some("5"), [false, true]),
            ("It costs 12.50 dollars", "12.5", None, some("12.50"), [false, false]),
            ("I do not know.", "5", None, None, [false, false]),
            ("", "5", None, None, [false, false]),
            ("5 apples, then...", "5", None, some("..."), [false, false]),
            ("Total: 3 , 4 .", "4", None, some("4"), [false, true]),
        ] {
            let got = gsm8k().score(answer, &[reference.to_owned()]);
            let extracted: Vec<_> = got.iter().map(|scored| scored.extracted.clone()).collect();
            assert_eq!(extracted, [strict, flexible], "{answer:?}");
            assert_eq!(got.iter().map(|scored| scored.is_correct).collect::<Vec<_>>(), correct, "{answer:?}");
        }
    }

    #[test]
    fn what_is_removed_goes_in_order() {
        for (text, expected) in
            [("1,234.", "1234"), ("so #### then\n#### $3.50", "3.50"), ("3.5.", "3.5"), ("ABC", "abc"), ("", "")]
        {
            assert_eq!(gsm8k().normalised(text), expected);
        }
    }

    #[test]
    fn groups_and_whole_matches() {
        let found = |pattern: &str, text: &str| find(&Regex::new(pattern).expect("a pattern"), Take::First, text);
        assert_eq!(found(r"\d+ \w+", "about 12 cats").as_deref(), Some("12 cats"));
        assert_eq!(found(r"is( \d+)?", "it is so").as_deref(), Some(""));
        assert_eq!(found(r"(a)?(b)?c", "c"), None);
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let filter = FilterSpec { name: "mine".to_owned(), pattern: "(a".to_owned(), take: Take::First };
        let error = ExactMatch::new(&[filter], &Normalise::default()).expect_err("unclosed");
        assert_eq!(error, "the pattern of the filter \"mine\" is \"(a\": unclosed group");
        let normalise = Normalise { remove: vec!["(?=a)".to_owned()], ignore_case: false };
        let error = ExactMatch::new(&[], &normalise).expect_err("look-ahead");
        assert!(error.starts_with("the pattern of what is removed is \"(?=a)\": look-around"), "{error}");
    }
}
