//! Whether a finished answer is what a schema describes, told by another program than the one that constrained it.

use serde_json::Value;

use super::schema::without_notes;

/// A schema that answers are held against.
pub struct Validator(jsonschema::Validator);

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Validator").finish_non_exhaustive()
    }
}

impl Validator {
    /// Of a schema; `None` where it is none by the standard, which the constraint knows what to make of.
    #[must_use]
    pub fn new(schema: &str) -> Option<Self> {
        let schema = without_notes(serde_json::from_str(schema).ok()?);
        let compiled =
            crate::contained::contained(|| jsonschema::options().should_validate_formats(false).build(&schema));
        compiled.ok()?.ok().map(Self)
    }

    /// Why an answer is not what the schema describes, with the place in the answer.
    pub fn check(&self, answer: &str) -> Result<(), String> {
        let value: Value = serde_json::from_str(answer).map_err(|error| format!("it is not JSON: {error}"))?;
        match crate::contained::contained(|| self.0.validate(&value).map_err(|error| words(&error))) {
            Ok(told) => told,
            Err(panic) => Err(panic),
        }
    }
}

fn words(error: &jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let place = if place.is_empty() { "the answer".to_owned() } else { place };
    format!("{place}: {error}")
}
