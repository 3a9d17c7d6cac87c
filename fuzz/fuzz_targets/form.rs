//! Any bytes as the form of an answer: a JSON schema (as text, or made of the bytes), a regular expression, a GBNF grammar.
//! It is refused in words, or an answer of random bytes keeps to it: what has to come may come, nothing gets stuck, and a
//! document that is complete is one that the schema describes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxytune_fuzz::constraint::{Constraint, Form, JsonForm, Refused, Tokens, Validator};
use proxytune_fuzz::llama::{Error, grammar};
use serde_json::{Map, Value, json};

/// The token that ends an answer: no text has this byte.
const END: u32 = 255;
/// A text ends at this byte, and what chooses the answer follows.
const TEXT_END: u8 = 1;
const MAX_BYTES: usize = 200;
const MAX_DEPTH: usize = 4;

const TYPES: [&str; 7] = ["object", "array", "string", "integer", "number", "boolean", "null"];
const NAMES: [&str; 4] = ["a", "b", "é", "a b"];
const PATTERNS: [&str; 8] = ["^a+$", "b", "^[a-c]{2,3}$", "\\d", "^(a|bc)*$", "(?=a)", "^\\w+\\.$", "["];
const FORMATS: [&str; 6] = ["date", "date-time", "uuid", "ipv4", "email", "odd"];
const REFERENCES: [&str; 4] = ["#", "#/$defs/a", "#/$defs/b", "#/$defs/none"];
const KEYWORDS: [&str; 34] = [
    "type",
    "properties",
    "required",
    "items",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "prefixItems",
    "additionalItems",
    "additionalProperties",
    "patternProperties",
    "minProperties",
    "maxProperties",
    "anyOf",
    "oneOf",
    "allOf",
    "const",
    "enum",
    "$ref",
    "$defs",
    "not",
    "uniqueItems",
    "if",
    "x-guidance",
    "$id",
    "$anchor",
];

/// A schema of a fuzzer's making: keywords with values of the kind that they take, and now and then of another.
struct Making<'a>(&'a mut dyn Iterator<Item = u8>);

impl Making<'_> {
    fn next(&mut self) -> usize {
        self.0.next().unwrap_or(0).into()
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.next() % items.len()]
    }

    fn schema(&mut self, depth: usize) -> Value {
        let n = self.next() % 5;
        if depth == MAX_DEPTH || n == 4 {
            return self.next().is_multiple_of(8).into();
        }
        let mut fields = Map::new();
        fields.insert("type".to_owned(), self.one_of(&TYPES).into());
        for _ in 0..=n {
            let keyword = self.one_of(&KEYWORDS);
            fields.insert(keyword.to_owned(), self.value(keyword, depth + 1));
        }
        if self.next().is_multiple_of(4) {
            fields.remove("type");
        }
        Value::Object(fields)
    }

    fn value(&mut self, keyword: &str, depth: usize) -> Value {
        match keyword {
            "type" if self.next().is_multiple_of(2) => json!([self.one_of(&TYPES), self.one_of(&TYPES)]),
            "type" => self.one_of(&TYPES).into(),
            "properties" | "$defs" => {
                json!({self.one_of(&NAMES): self.schema(depth), self.one_of(&NAMES): self.schema(depth)})
            }
            "patternProperties" => json!({self.one_of(&PATTERNS): self.schema(depth)}),
            "required" => json!([self.one_of(&NAMES)]),
            "prefixItems" | "anyOf" | "oneOf" | "allOf" => json!([self.schema(depth), self.schema(depth)]),
            "items" | "additionalItems" | "additionalProperties" | "not" | "if" => self.schema(depth),
            "pattern" => self.one_of(&PATTERNS).into(),
            "format" => self.one_of(&FORMATS).into(),
            "$ref" => self.one_of(&REFERENCES).into(),
            "const" => self.plain(),
            "enum" => json!([self.plain(), self.plain()]),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => self.number(),
            "uniqueItems" => self.next().is_multiple_of(2).into(),
            "$id" | "$anchor" | "x-guidance" => self.plain(),
            _ if self.next() == 0 => self.plain(),
            _ => (self.next() % 6).into(),
        }
    }

    fn number(&mut self) -> Value {
        let x = self.next() as f64 - 128.0;
        match self.next() % 4 {
            0 => json!(x / 8.0),
            1 => json!(x * 1e15),
            _ => json!(x as i64),
        }
    }

    fn plain(&mut self) -> Value {
        match self.next() % 7 {
            0 => Value::Null,
            1 => true.into(),
            2 => self.number(),
            3 => json!([self.number()]),
            4 => json!({self.one_of(&NAMES): self.number()}),
            _ => self.one_of(&NAMES).into(),
        }
    }
}

/// Walks through an answer; the text, if it is whole.
fn answer(mut constraint: Constraint, mut choices: impl Iterator<Item = u8>) -> Result<Option<String>, Refused> {
    let mut text = Vec::new();
    while text.len() < MAX_BYTES {
        let mut allowed = Vec::new();
        for token in 0..END {
            if constraint.allows(token)? {
                allowed.push(token);
            }
        }
        let may_end = constraint.allows(END)?;
        assert_eq!(may_end, constraint.is_complete());
        assert!(may_end || !allowed.is_empty(), "stuck behind {:?}", String::from_utf8_lossy(&text));
        let Some(choice) = choices.next() else { break };
        if may_end && (allowed.is_empty() || choice >= 160) {
            break;
        }
        let tokens = if choice.is_multiple_of(2) { constraint.forced() } else { Vec::new() };
        assert!(tokens.is_empty() || !may_end, "what is whole has to go on");
        for token in if tokens.is_empty() { vec![allowed[usize::from(choice) % allowed.len()]] } else { tokens } {
            assert!(constraint.allows(token)?, "{token} has to come and may not");
            constraint.accept(token)?;
            text.push(token as u8);
        }
    }
    if !constraint.is_complete() {
        return Ok(None);
    }
    constraint.accept(END)?;
    assert!(constraint.is_complete() && constraint.allows(END)? && constraint.forced().is_empty());
    Ok(Some(String::from_utf8(text).expect("an answer in UTF-8")))
}

/// Whether a step was refused because it took more than it may: that is told of lexer and parser.
fn is_budget(refused: &Refused) -> bool {
    let words = refused.to_string();
    ["lexer", "too many", "limit", "fuel", "complex"].iter().any(|word| words.to_lowercase().contains(word))
}

fn refused(reason: &str) {
    assert!(!reason.is_empty());
    let is_at_a_place = reason.contains("cannot be used: #");
    assert!(!is_at_a_place || !reason.contains(char::is_control), "{reason:?}");
}

fn follow(form: &Form, choices: impl Iterator<Item = u8>) {
    let constraint = match Tokens::of_bytes().constrain(form, &[END]) {
        Ok(constraint) => constraint,
        Err(error) => return refused(&error.to_string()),
    };
    assert!(constraint.notes().iter().all(|note| !note.is_empty()));
    let text = match answer(constraint, choices) {
        Ok(text) => text,
        Err(error) => return assert!(is_budget(&error), "{error}"),
    };
    if let (Form::Json(JsonForm { schema, is_lax: false }), Some(text)) = (form, text)
        && let Some(validator) = Validator::new(schema)
    {
        assert_eq!(validator.check(&text), Ok(()), "{schema} got {text}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let end = bytes.iter().position(|&byte| byte == TEXT_END).unwrap_or(bytes.len());
    let (text, choices) = bytes.split_at(end);
    let (text, choices) = (String::from_utf8_lossy(text).into_owned(), choices.iter().copied().skip(1));
    let json = |schema: String| Form::Json(JsonForm { schema, is_lax: kind % 2 == 1 });
    match kind % 8 {
        0 | 1 => follow(&json(text), choices),
        2..=5 => {
            let mut bytes = bytes.iter().copied();
            let schema = Making(&mut bytes).schema(0);
            follow(&json(schema.to_string()), bytes);
        }
        6 => follow(&Form::Regex(text), choices),
        _ => {
            if let Err(Error::Grammar { reason }) = grammar::check(&text) {
                refused(&reason);
            }
        }
    }
});
