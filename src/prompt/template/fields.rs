//! A text made of the fields of a JSON object: the prompt of a task, and its answer.
//!
//! Jinja as for chat templates, and bounded as they are. A name that the object lacks is an error, not an empty text.

use std::fmt;

use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value};

use super::values::{self, Spoken};
use super::{BYTES_PER_FUEL, FUEL, NAME, compiled, panicked, render_error};
use crate::contained::contained;
use crate::prompt::Error;

/// A Jinja template, or the name of a field.
pub struct FieldTemplate(Source);

enum Source {
    Field(String),
    /// With the names that it uses and does not set, in order.
    Jinja(Box<Environment<'static>>, Vec<String>),
}

/// Why an object makes no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    #[error("there is no field {name:?}, expected one of {}", known.join(", "))]
    Missing { name: String, known: Vec<String> },

    #[error("the field {name:?} is {found}, expected a text or a number")]
    NotText { name: String, found: &'static str },

    #[error("{0}")]
    Template(#[from] Error),
}

impl FieldTemplate {
    /// Compiles a text with `{{` or `{%` in it; any other is the name of a field.
    pub fn new(text: &str) -> Result<Self, Error> {
        if !text.contains("{{") && !text.contains("{%") {
            return Ok(Self(Source::Field(text.to_owned())));
        }
        let mut environment = compiled(text)?;
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let is_ours = |name: &String| environment.globals().any(|(global, _)| global == name);
        let template = environment.get_template(NAME).map_err(|error| render_error(&error))?;
        let mut names: Vec<_> =
            template.undeclared_variables(false).into_iter().filter(|name| !is_ours(name)).collect();
        names.sort_unstable();
        drop(template);
        Ok(Self(Source::Jinja(Box::new(environment), names)))
    }

    /// The first name that it uses and an object lacks, as an error.
    pub(super) fn missing(&self, fields: &Map<String, Value>) -> Option<FieldError> {
        let names = match &self.0 {
            Source::Field(name) => std::slice::from_ref(name),
            Source::Jinja(_, names) => names,
        };
        let name = names.iter().find(|name| !fields.contains_key(name.as_str()))?.clone();
        Some(FieldError::Missing { name, known: fields.keys().cloned().collect() })
    }

    /// The text that an object makes.
    pub fn render(&self, fields: &Map<String, Value>) -> Result<String, FieldError> {
        let environment = match &self.0 {
            Source::Field(name) => return self.missing(fields).map_or_else(|| text_of(name, &fields[name]), Err),
            Source::Jinja(environment, _) => environment,
        };
        let mut environment = environment.as_ref().clone();
        let mut spoken = Spoken::default();
        let values = values::object(fields, &mut spoken);
        environment.set_fuel(Some(FUEL + spoken.n_bytes() as u64 / BYTES_PER_FUEL));
        let rendered = contained(|| environment.get_template(NAME).and_then(|template| template.render(values)))
            .map_err(panicked)?;
        rendered.map_err(|error| {
            let missing = self.missing(fields).filter(|_| error.kind() == ErrorKind::UndefinedError);
            missing.unwrap_or_else(|| render_error(&error).into())
        })
    }
}

impl fmt::Debug for FieldTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Field(name) => f.debug_tuple("Field").field(name).finish(),
            Source::Jinja(_, names) => f.debug_tuple("Jinja").field(names).finish(),
        }
    }
}

fn text_of(name: &str, value: &Value) -> Result<String, FieldError> {
    let found = match value {
        Value::String(text) => return Ok(text.clone()),
        Value::Number(number) => return Ok(number.to_string()),
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Err(FieldError::NotText { name: name.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).expect("an object")
    }

    fn render(template: &str, json: &str) -> Result<String, FieldError> {
        FieldTemplate::new(template)?.render(&fields(json))
    }

    #[test]
    fn fields_become_text() {
        for (template, json, expected) in [
            ("question", r#"{"question": "Why?"}"#, "Why?"),
            ("n", r#"{"n": 1.50}"#, "1.50"),
            ("Question: {{question}}\nAnswer:", r#"{"question": "Why?\n"}"#, "Question: Why?\n\nAnswer:"),
            ("{{ n + 1 }} {{ big }}", r#"{"n": 2, "big": 0.25}"#, "3 0.25"),
            (
                "{% for c in choices %}{{ loop.index }}. {{ c.text }}\n{% endfor %}",
                r#"{"choices": [{"text": "a"}, {"text": "b"}]}"#,
                "1. a\n2. b\n",
            ),
            ("{{ question.strip() }}{% if hint is defined %} {{ hint }}{% endif %}", r#"{"question": " x "}"#, "x"),
            ("{{ answer.split('### ')[-1] }}", r#"{"answer": "so\n### 7"}"#, "7"),
        ] {
            assert_eq!(render(template, json).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn a_missing_field_is_named_with_those_that_there_are() {
        for template in ["qestion", "{{ qestion }}", "{% if qestion %}x{% endif %}"] {
            let error = render(template, r#"{"question": "Why?", "answer": "So."}"#).expect_err("missing");
            assert_eq!(
                error.to_string(),
                "there is no field \"qestion\", expected one of question, answer",
                "{template}"
            );
        }
        let error = render("question", r#"{"question": ["Why?"]}"#).expect_err("a list").to_string();
        assert_eq!(error, "the field \"question\" is a list, expected a text or a number");
    }

    #[test]
    fn faults_of_the_template_are_told_and_work_is_bounded() {
        assert!(matches!(FieldTemplate::new("{{ question"), Err(Error::Syntax { line: 1, .. })));
        let error = render("{{ question.text.more }}", r#"{"question": {}}"#).expect_err("undefined");
        assert!(matches!(error, FieldError::Template(Error::Render { .. })), "{error}");
        let endless = "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}";
        let error = render(endless, "{}").expect_err("too much");
        assert!(matches!(error, FieldError::Template(Error::Work | Error::Render { .. })), "{error}");
    }
}
