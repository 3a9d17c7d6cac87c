//! What the fields of a JSON object come to: the choices of a task's item, and which of them are right.

use serde_json::{Map, Value};

use super::fields::{FieldError, FieldTemplate};
use crate::prompt::Error;

/// An expression of Jinja, such as the name of a field, `choices.text`, or `choices | map(attribute="text")`.
#[derive(Debug)]
pub struct FieldExpression(FieldTemplate);

impl FieldExpression {
    pub fn new(text: &str) -> Result<Self, Error> {
        // As JSON and back: templates are bounded already. A line of its own ends a comment.
        FieldTemplate::new(&format!("{{{{ ({text}\n) | tojson }}}}")).map(Self)
    }

    /// What it comes to for an object.
    pub fn evaluate(&self, fields: &Map<String, Value>) -> Result<Value, FieldError> {
        let json = self.0.render(fields)?;
        let value = serde_json::from_str(&json)
            .map_err(|error| FieldError::Template(Error::Render { line: None, reason: error.to_string() }))?;
        // What is undefined comes to nothing.
        match self.0.missing(fields).filter(|_| value == Value::Null) {
            Some(missing) => Err(missing),
            None => Ok(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn evaluate(expression: &str, fields: &Value) -> Result<Value, FieldError> {
        let Value::Object(fields) = fields else { panic!("no object") };
        FieldExpression::new(expression)?.evaluate(fields)
    }

    #[test]
    fn lists_are_found_wherever_they_lie() {
        let arc = json!({"question": {"choices": [{"text": "a \"b\"", "label": "A"}, {"text": "ü\n", "label": "B"}]}});
        let truthful = json!({"targets": {"yes": 1, "no": 0}, "answer": 2});
        for (expression, fields, expected) in [
            ("question.choices | map(attribute='text') | list", &arc, json!(["a \"b\"", "ü\n"])),
            ("question.choices | map(attribute='label')", &arc, json!(["A", "B"])),
            ("targets.keys() | list", &truthful, json!(["yes", "no"])),
            ("targets.values() | list", &truthful, json!([1, 0])),
            ("answer", &truthful, json!(2)),
            ("[targets.yes, 'x<y>&']", &truthful, json!([1, "x<y>&"])),
        ] {
            assert_eq!(evaluate(expression, fields), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn faults_are_told() {
        for expression in ["choices", "choices.text"] {
            let error = evaluate(expression, &json!({"choice": []})).expect_err("missing");
            assert_eq!(error.to_string(), "there is no field \"choices\", expected one of choice");
        }
        assert!(matches!(FieldExpression::new("choices |"), Err(Error::Syntax { .. })));
        assert!(matches!(FieldExpression::new("a }} b"), Err(Error::Syntax { .. })));
    }
}
