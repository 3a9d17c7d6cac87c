//! How data sets are written: a text becomes objects, one for each item.

use std::fmt;

use serde_json::{Map, Value};

use super::spec::{Format, Spec};

/// A passage of a text has at most so many bytes.
const PASSAGE_BYTES: usize = 2000;

/// Where an item stands; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Line(usize),
    Item(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(n) => write!(f, "line {n}"),
            Self::Item(n) => write!(f, "item {n}"),
        }
    }
}

/// An item's fields, or what is wrong with it.
pub type Found = Result<(Place, Map<String, Value>), (Place, String)>;

/// The items of a text, in order.
#[must_use]
pub fn items<'a>(spec: &Spec, text: &'a str) -> Box<dyn Iterator<Item = Found> + 'a> {
    match spec.format {
        Format::OpenTriviaQa => Box::new(trivia(text)),
        Format::Text => Box::new(passages(text).enumerate().map(|(i, passage)| {
            Ok((Place::Item(i + 1), [("text".to_owned(), Value::from(passage))].into_iter().collect()))
        })),
        Format::Json => match (&spec.items, text.trim_start().starts_with('[')) {
            (None, false) => Box::new(lines(text)),
            (key, _) => listed(key.as_deref(), text),
        },
    }
}

/// JSON lines; empty lines are none.
fn lines(text: &str) -> impl Iterator<Item = Found> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(i, line)| {
        let place = Place::Line(i + 1);
        let object = match serde_json::from_str(line) {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(_) => Err("expected an object, as in {\"question\": …}".to_owned()),
            Err(error) => Err(format!("expected JSON, at column {}: {error}", error.column())),
        };
        object.map(|fields| (place, fields)).map_err(|reason| (place, reason))
    })
}

/// One list of objects, or an object with the list under a key.
fn listed<'a>(key: Option<&str>, text: &'a str) -> Box<dyn Iterator<Item = Found> + 'a> {
    let fault = |line: usize, reason: String| -> Box<dyn Iterator<Item = Found>> {
        Box::new(std::iter::once(Err((Place::Line(line.max(1)), reason))))
    };
    let mut value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => return fault(error.line(), format!("expected JSON, at column {}: {error}", error.column())),
    };
    if let Some(key) = key {
        value = value.get_mut(key).map(Value::take).unwrap_or_default();
    }
    let Value::Array(values) = value else {
        let expected = key.map_or("a list of objects".to_owned(), |key| format!("an object with a list under {key:?}"));
        return fault(1, format!("expected {expected}"));
    };
    Box::new(values.into_iter().enumerate().map(|(i, value)| match value {
        Value::Object(fields) => Ok((Place::Item(i + 1), fields)),
        _ => Err((Place::Item(i + 1), "expected an object, as in {\"question\": …}".to_owned())),
    }))
}

/// `OpenTriviaQA`: fields `question`, `choices` and `answer`. A question may go on over several lines.
fn trivia(text: &str) -> impl Iterator<Item = Found> {
    // Of files behind one another each may have a mark in front.
    let lines = text.lines().map(|line| line.trim_start_matches('\u{feff}').trim()).enumerate();
    let mut lines = lines.peekable();
    std::iter::from_fn(move || {
        while lines.next_if(|(_, line)| line.is_empty()).is_some() {}
        let (begin, _) = *lines.peek()?;
        let (mut question, mut answer, mut choices) = (String::new(), None, Vec::new());
        while let Some((i, line)) = lines.next_if(|(i, line)| *i == begin || !line.starts_with("#Q")) {
            let place = Place::Line(i + 1);
            let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
            let fault = match mark {
                "" => None,
                "#Q" => {
                    rest.clone_into(&mut question);
                    None
                }
                "^" if answer.is_none() => {
                    answer = Some(rest.to_owned());
                    None
                }
                "^" => Some("the question has an answer already: expected `#Q` and the next one".to_owned()),
                letter if answer.is_some() && is_letter(letter) => {
                    choices.push(rest.to_owned());
                    None
                }
                _ if question.is_empty() => Some(format!("expected `#Q` and a question, got {line:?}")),
                _ => {
                    let open = choices.last_mut().or(answer.as_mut()).unwrap_or(&mut question);
                    *open = format!("{open}\n{line}");
                    None
                }
            };
            if let Some(reason) = fault {
                // What follows is no item either.
                lines.by_ref().last();
                return Some(Err((place, reason)));
            }
        }
        let place = Place::Line(begin + 1);
        let Some(answer) = answer else {
            return Some(Err((place, "the question has no answer: expected a line that begins with `^`".to_owned())));
        };
        let fields = [("question", question.into()), ("choices", choices.into()), ("answer", answer.into())];
        Some(Ok((place, fields.into_iter().map(|(key, value): (&str, Value)| (key.to_owned(), value)).collect())))
    })
}

fn is_letter(mark: &str) -> bool {
    mark.len() == 1 && mark.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Paragraphs, as many together as a passage holds; a longer one is cut.
fn passages(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let most = (0..=rest.len().min(PASSAGE_BYTES)).rfind(|&at| rest.is_char_boundary(at)).unwrap_or(0);
        let end = if most == rest.len() { most } else { rest[..most].rfind("\n\n").unwrap_or(most) };
        let (passage, behind) = rest.split_at(end);
        rest = behind.trim_start_matches(['\n', '\r']);
        Some(passage)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(more: &str) -> Spec {
        toml::from_str(&format!("metric = 'loss'\nanswer = 'text'\n{more}")).expect("a task")
    }

    fn found(more: &str, text: &str) -> Result<Vec<Value>, (Place, String)> {
        items(&spec(more), text).map(|found| found.map(|(_, fields)| Value::Object(fields))).collect()
    }

    fn fault(more: &str, text: &str) -> String {
        let (place, reason) = found(more, text).expect_err("faulty");
        format!("{place}: {reason}")
    }

    #[test]
    fn json_comes_as_lines_as_a_list_or_under_a_key() {
        let expected = Ok(vec![json!({"a": 1}), json!({"a": 2})]);
        assert_eq!(found("", "{\"a\": 1}\n\n{\"a\": 2}"), expected);
        assert_eq!(found("", " [{\"a\": 1},\n {\"a\": 2}]\n"), expected);
        assert_eq!(found("items = 'Data'", "{\"V\": 1, \"Data\": [{\"a\": 1}, {\"a\": 2}]}"), expected);
        assert!(fault("", "{\"a\": 1}\n[2]").starts_with("line 2: expected an object"));
        assert!(fault("", "{\"a\": 1}\n{\"a\" 2}").starts_with("line 2: expected JSON, at column 6"));
        assert!(fault("", "[{\"a\": 1},\n{]").starts_with("line 2: expected JSON, at column 2"));
        assert!(fault("", "[{\"a\": 1}, 7]").starts_with("item 2: expected an object"));
        assert_eq!(fault("items = 'Data'", "{\"data\": []}"), "line 1: expected an object with a list under \"Data\"");
    }

    #[test]
    fn trivia_has_questions_answers_and_choices() {
        let text = "\n#Q Which?\nOf these?\n^ B b\nA a\nB B b\n\n\n#Q Is it?\r\n^ True\r\nA True\r\nB False\r\n";
        let expected = vec![
            json!({"question": "Which?\nOf these?", "choices": ["a", "B b"], "answer": "B b"}),
            json!({"question": "Is it?", "choices": ["True", "False"], "answer": "True"}),
        ];
        assert_eq!(found("format = 'opentriviaqa'", text), Ok(expected));
        assert_eq!(
            fault("format = 'opentriviaqa'", "#Q Which?\nA a\nB b\n"),
            "line 1: the question has no answer: expected a line that begins with `^`"
        );
        let twice = "#Q Which?\n^ a\nA a\nB b\n^ b\n";
        assert!(fault("format = 'opentriviaqa'", twice).starts_with("line 5: the question has an answer already"));
        let joined = format!("\u{feff}{text}\u{feff} #Q Last?\n^ a\nA a\nB b\n");
        assert_eq!(found("format = 'opentriviaqa'", &joined).map(|items| items.len()), Ok(3));
        assert!(fault("format = 'opentriviaqa'", "Which?\n^ a\n").starts_with("line 1: expected `#Q` and a question"));
    }

    #[test]
    fn a_text_is_cut_between_paragraphs_and_nothing_is_lost() {
        let paragraph = "word ".repeat(150);
        let paragraph = paragraph.trim();
        let text = format!("{}\n", [paragraph; 7].join("\n\n"));
        let passages: Vec<_> = passages(&text).collect();
        assert_eq!(passages.len(), 4, "two paragraphs of 749 bytes each");
        assert_eq!(passages.join("\n\n"), text.trim());
        let long = "ü".repeat(3000);
        let cut: Vec<_> = self::passages(&long).collect();
        assert_eq!((cut.concat(), cut[0].len()), (long.clone(), 2000));
        assert_eq!(self::passages(" \n\n ").count(), 0);
    }
}
