//! `tojson` as Hugging Face has it: Python's `json.dumps(…, ensure_ascii=False)`, nothing escaped for HTML.

use std::fmt::Write;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use crate::prompt::marks;

const MAX_DEPTH: usize = 32;
const MAX_INDENT: usize = 16;

/// Keys stay in the order in which they came, or are sorted.
#[allow(clippy::needless_pass_by_value, reason = "the engine hands its arguments over")]
pub(super) fn filter(state: &State, value: &Value, indent: Option<usize>, options: Kwargs) -> Result<String, Error> {
    let indent = indent.map_or_else(|| options.get::<Option<usize>>("indent"), |indent| Ok(Some(indent)))?;
    if indent.is_some_and(|indent| indent > MAX_INDENT) {
        return Err(invalid("the indent is too large"));
    }
    let is_set = |name| options.get::<Option<bool>>(name).map(|is_set| is_set == Some(true));
    let (ensure_ascii, sort_keys) = (is_set("ensure_ascii")?, is_set("sort_keys")?);
    let separators = options.get::<Option<Vec<String>>>("separators")?;
    options.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        None => (if indent.is_some() { "," } else { ", " }, ": "),
        Some([item, key]) => (item.as_str(), key.as_str()),
        Some(_) => return Err(invalid("two separators were expected")),
    };
    let mut writer = Writer { out: String::new(), state, indent, item, key, ensure_ascii, sort_keys };
    writer.value(value, 0)?;
    Ok(writer.out)
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson: {why}"))
}

struct Writer<'a> {
    out: String,
    state: &'a State<'a, 'a>,
    indent: Option<usize>,
    item: &'a str,
    key: &'a str,
    ensure_ascii: bool,
    sort_keys: bool,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(invalid("the value is nested too deeply"));
        }
        self.state.consume_fuel(1 + value.as_str().map_or(0, |text| text.len() as u64 / 16))?;
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => write!(self.out, "{value}").map_err(|_| invalid("a number cannot be written"))?,
            ValueKind::Seq | ValueKind::Iterable => {
                let mut n_items = 0;
                self.out.push('[');
                for item in value.try_iter()? {
                    self.between(n_items, depth + 1);
                    self.value(&item, depth + 1)?;
                    n_items += 1;
                }
                self.end(']', n_items, depth);
            }
            ValueKind::Map => {
                let mut n_items = 0;
                self.out.push('{');
                let mut keys: Vec<_> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort_by_cached_key(Value::to_string);
                }
                for key in keys {
                    self.between(n_items, depth + 1);
                    self.string(key.as_str().unwrap_or(&key.to_string()));
                    self.out.push_str(self.key);
                    self.value(&value.get_item(&key)?, depth + 1)?;
                    n_items += 1;
                }
                self.end('}', n_items, depth);
            }
            _ => self.string(value.as_str().ok_or_else(|| invalid("the value is not data"))?),
        }
        Ok(())
    }

    fn between(&mut self, n_items: usize, depth: usize) {
        if n_items > 0 {
            self.out.push_str(self.item);
        }
        self.line(depth);
    }

    fn end(&mut self, bracket: char, n_items: usize, depth: usize) {
        if n_items > 0 {
            self.line(depth);
        }
        self.out.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if u32::from(c) < 0x20 => self.out.extend(["\\u00", &format!("{:02x}", u32::from(c))]),
                c if self.ensure_ascii && !c.is_ascii() && !marks::is_reserved(c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.extend(["\\u", &format!("{unit:04x}")]);
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}
