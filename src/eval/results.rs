//! Results as they come: a file of JSON lines that a run writes and goes on with.
//!
//! The first line says what was run (see [`fingerprint`](super::fingerprint)); every other line is a [`Record`], or says
//! which model a contender is that was added. A line is
//! written at once and never changed. One that was only half written, because the program was ended, is dropped: its item
//! is asked again. A file of another run is refused, with what differs.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::TaskError;

/// One item's answer by one contender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// By its place in the data, from 0.
    pub item: usize,
    pub contender: String,
    /// What it is worth, by the names of the task's scores.
    pub scores: BTreeMap<String, f64>,
    /// Tokens that were written, or whose probability was looked at.
    pub n_tokens: usize,
    /// Summed up, how long the contender took: since its last answer, or its start; of an answer that is given, what its lanes
    /// took to decode since the last item.
    pub wall_seconds: f64,
    pub answer: Answered,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    Written {
        text: String,
        /// What each filter found, by its name.
        extracted: BTreeMap<String, Option<String>>,
        finish_reason: String,
        /// From its slot to its end, beside others that ran at the same time.
        seconds: f64,
    },
    /// The log-probability of each choice, or of a text, in nats; and the bytes of the tokens that were looked at.
    Scored { logprobs: Vec<f64>, n_bytes: usize },
}

/// Every answer that there is, by contender and item.
#[derive(Debug, Default)]
pub struct Results {
    records: BTreeMap<String, BTreeMap<usize, Record>>,
    /// The models of contenders that the header does not name.
    models: BTreeMap<String, Value>,
    file: Option<(PathBuf, File)>,
}

impl Results {
    /// Opens a file and takes in what it holds, or begins it. `header` is what is run.
    pub fn open(path: &Path, header: &Value) -> Result<Self, TaskError> {
        let io = |source| TaskError::Io { path: path.to_path_buf(), source };
        // As it is read back: numbers are compared as they are written.
        let line = header.to_string() + "\n";
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let mut results = Self::default();
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        if whole > 0 {
            results.take_in(path, &bytes[..whole], &line)?;
        } else if !line.as_bytes().starts_with(&bytes) {
            return Err(TaskError::NotResults { path: path.to_path_buf() });
        }
        file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(io)?;
        if whole == 0 {
            file.write_all(line.as_bytes()).map_err(io)?;
        }
        results.file = Some((path.to_path_buf(), file));
        Ok(results)
    }

    fn take_in(&mut self, path: &Path, bytes: &[u8], header: &str) -> Result<(), TaskError> {
        let foreign = || TaskError::NotResults { path: path.to_path_buf() };
        let text = std::str::from_utf8(bytes).map_err(|_| foreign())?;
        let mut lines = text.lines().enumerate();
        let parsed = |line: &str| serde_json::from_str::<Value>(line).ok();
        let there = lines.next().and_then(|(_, line)| parsed(line)).filter(|there| there.get(FORMAT).is_some());
        let (there, here) = (there.ok_or_else(foreign)?, parsed(header).unwrap_or_default());
        let mut differences = Vec::new();
        compare("", &there, &here, &mut differences);
        if !differences.is_empty() {
            return Err(TaskError::OtherRun { path: path.to_path_buf(), differences });
        }
        for (i, line) in lines {
            let not = |error: serde_json::Error| TaskError::NotARecord {
                path: path.to_path_buf(),
                line: i + 1,
                reason: error.to_string(),
            };
            let value: Value = serde_json::from_str(line).map_err(not)?;
            match (value.get(MODEL), value.get("contender").and_then(Value::as_str)) {
                (Some(model), Some(contender)) => {
                    self.models.entry(contender.to_owned()).or_insert(model.clone());
                }
                _ => self.keep(serde_json::from_value(value).map_err(not)?),
            }
        }
        Ok(())
    }

    /// Says which model a contender is that the header does not name. Refused where another one answered by that name.
    pub fn identify(&mut self, contender: &str, model: &Value) -> Result<(), TaskError> {
        let path = self.file.as_ref().map(|(path, _)| path.clone()).unwrap_or_default();
        // As it is read back.
        let model: Value = serde_json::from_str(&model.to_string()).unwrap_or_default();
        if let Some(there) = self.models.get(contender) {
            let mut differences = Vec::new();
            compare(contender, there, &model, &mut differences);
            return if differences.is_empty() { Ok(()) } else { Err(TaskError::OtherRun { path, differences }) };
        }
        self.write(&json!({"contender": contender, MODEL: model}))?;
        self.models.insert(contender.to_owned(), model);
        Ok(())
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), TaskError> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let line = serde_json::to_string(line).map_err(io::Error::from).map(|line| line + "\n");
        let written = line.and_then(|line| file.write_all(line.as_bytes()));
        written.map_err(|source| TaskError::Io { path: path.clone(), source })
    }

    /// The first answer to an item counts.
    fn keep(&mut self, record: Record) {
        self.records.entry(record.contender.clone()).or_default().entry(record.item).or_insert(record);
    }

    /// Whether an item is answered.
    #[must_use]
    pub fn has(&self, contender: &str, item: usize) -> bool {
        self.records.get(contender).is_some_and(|records| records.contains_key(&item))
    }

    /// Takes in an answer, and writes it.
    pub fn add(&mut self, record: Record) -> Result<(), TaskError> {
        self.write(&record)?;
        self.keep(record);
        Ok(())
    }

    /// A contender's answers to the first `n_items` items, in their order.
    pub fn of(&self, contender: &str, n_items: usize) -> impl Iterator<Item = &Record> {
        self.records
            .get(contender)
            .into_iter()
            .flat_map(move |records| records.range(..n_items).map(|(_, record)| record))
    }
}

/// The key by which the first line is known.
pub const FORMAT: &str = "proxytune_eval";
/// The key of a line that says which model a contender is.
const MODEL: &str = "model";
/// What the lines behind the first look like.
pub const VERSION: u32 = 2;

/// A value in an error is cut behind so many characters.
const MAX_SHOWN: usize = 60;

/// What differs between two values, key by key.
fn compare(key: &str, there: &Value, here: &Value, differences: &mut Vec<String>) {
    if let (Value::Object(there), Value::Object(here)) = (there, here) {
        let new = here.keys().filter(|name| !there.contains_key(*name));
        for name in there.keys().chain(new) {
            let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            let of = |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or_default();
            compare(&inner, &of(there), &of(here), differences);
        }
    } else if there != here {
        let shown = |value: &Value| {
            let text = value.to_string();
            let cut = text.char_indices().nth(MAX_SHOWN).map(|(at, _)| format!("{}…", &text[..at]));
            cut.unwrap_or(text)
        };
        differences.push(format!("{key} is {} there and {} here", shown(there), shown(here)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(contender: &str, item: usize) -> Record {
        let answer = if item.is_multiple_of(2) {
            Answered::Written {
                text: "ein Wörtchen\n".to_owned(),
                extracted: [("strict".to_owned(), None)].into(),
                finish_reason: "stop".to_owned(),
                seconds: 0.1,
            }
        } else {
            Answered::Scored { logprobs: vec![-0.1, -1e-300, f64::MIN], n_bytes: 7 }
        };
        Record {
            item,
            contender: contender.to_owned(),
            scores: [("strict".to_owned(), 1.0 / 3.0)].into(),
            n_tokens: 3,
            wall_seconds: 0.3,
            answer,
        }
    }

    fn header() -> Value {
        json!({FORMAT: 1, "task": {"name": "sums", "stop": ["\n"]}, "sampling": {"temp": 0.1_f32}})
    }

    #[test]
    fn a_contender_goes_by_its_model() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("results.jsonl");
        let model = |bytes: u64| json!({"model": "tuned.gguf", "bytes": bytes, "lora": []});
        let mut results = Results::open(&path, &header()).expect("a new file");
        results.identify("tuned", &model(1)).expect("nobody answered by that name");
        results.add(record("tuned", 1)).expect("writable");
        let mut again = Results::open(&path, &header()).expect("the same run");
        assert!(again.has("tuned", 1));
        again.identify("tuned", &model(1)).expect("the same model");
        let error = again.identify("tuned", &model(2)).expect_err("another model").to_string();
        assert!(error.contains("tuned.bytes is 1 there and 2 here"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("UTF-8").lines().count(), 3);
    }

    #[test]
    fn a_file_cut_anywhere_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("out.jsonl");
        let mut results = Results::open(&path, &header()).expect("a new file");
        for item in [0, 2, 1] {
            results.add(record("base", item)).expect("writable");
        }
        let written = std::fs::read(&path).expect("there");
        for cut in 0..=written.len() {
            std::fs::write(&path, &written[..cut]).expect("writable");
            let mut results = Results::open(&path, &header()).unwrap_or_else(|error| panic!("{cut}: {error}"));
            let missing: Vec<_> = [0, 2, 1].into_iter().filter(|&item| !results.has("base", item)).collect();
            for item in missing {
                results.add(record("base", item)).expect("writable");
            }
            assert_eq!(std::fs::read(&path).expect("there"), written, "cut at {cut}");
            let items: Vec<_> = results.of("base", 9).map(|record| record.item).collect();
            assert_eq!(items, [0, 1, 2]);
            assert_eq!(results.of("base", 2).count(), 2);
        }
    }

    #[test]
    fn another_run_is_refused_with_what_differs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("out.jsonl");
        Results::open(&path, &header()).and_then(|mut results| results.add(record("base", 0))).expect("writable");
        let other = json!({FORMAT: 1, "task": {"name": "sums", "stop": ["."]}, "sampling": {"temp": 0.1_f32}, "n": 1});
        let error = Results::open(&path, &other).expect_err("another run").to_string();
        assert!(error.ends_with(r#"task.stop is ["\n"] there and ["."] here; n is null there and 1 here"#), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("there").lines().count(), 2, "it is as it was");
    }

    #[test]
    fn files_of_others_are_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("out.jsonl");
        for text in ["{\"question\": 1}\n", "words", "{\"question\": 1}\nhalf a li", "\u{e4}"] {
            std::fs::write(&path, text).expect("writable");
            let error = Results::open(&path, &header()).expect_err("not ours");
            assert!(matches!(error, TaskError::NotResults { .. }), "{error}");
            assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
        }
        std::fs::write(&path, format!("{}\n{{\"item\": 1}}\n", header())).expect("writable");
        let error = Results::open(&path, &header()).expect_err("no record").to_string();
        assert!(error.contains("line 2: expected a result: missing field"), "{error}");
    }
}
