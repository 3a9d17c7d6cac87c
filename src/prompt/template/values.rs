//! JSON for the engine, its texts marked where they must not be taken for the template's.

use serde_json::{Map, Value};

use crate::prompt::marks;

/// The texts in values, as they are put into a template.
#[derive(Default)]
pub(super) struct Spoken {
    /// The number of the first mark, where there are to be any.
    first: Option<usize>,
    n_marks: usize,
    n_bytes: usize,
    /// A character in one of them that is kept for marks.
    found: Option<char>,
}

impl Spoken {
    /// Texts that could hold what looks like a special token are marked, from a number on.
    pub fn marked(first: usize) -> Self {
        Self { first: Some(first), ..Self::default() }
    }

    pub fn found(&self) -> Option<char> {
        self.found
    }

    pub fn n_marks(&self) -> usize {
        self.n_marks
    }

    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    fn say(&mut self, text: &str) -> String {
        self.n_bytes += text.len();
        self.found = self.found.or_else(|| marks::reserved(text));
        match self.first.filter(|_| text.contains(SUSPECT)) {
            Some(first) => {
                self.n_marks += 1;
                marks::marked(first + self.n_marks - 1, text)
            }
            None => text.to_owned(),
        }
    }
}

/// What names of special tokens are made with; most texts have none of it, and templates may look into those.
const SUSPECT: [char; 5] = ['<', '[', '|', '｜', '▁'];

/// A value for the engine. Not by serde: numbers are kept there as they were written, which serde tells as an object.
pub(super) fn of(value: &Value, spoken: &mut Spoken) -> minijinja::Value {
    match value {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(is_true) => (*is_true).into(),
        Value::String(text) => spoken.say(text).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.to_string().into(),
        },
        Value::Array(values) => values.iter().map(|value| of(value, spoken)).collect::<Vec<_>>().into(),
        Value::Object(values) => object(values, spoken),
    }
}

pub(super) fn object(fields: &Map<String, Value>, spoken: &mut Spoken) -> minijinja::Value {
    let pair = |(name, value): (&String, &Value)| (spoken.say(name), of(value, spoken));
    minijinja::Value::from_pairs(fields.iter().map(pair).collect::<Vec<_>>())
}
