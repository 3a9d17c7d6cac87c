//! A GGUF file's metadata and tensor table (format: ggml's `docs/gguf.md`, versions 2 and 3, little-endian).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::reader::Reader;
use super::tensors::{self, Tensor};
use super::{Error, preflight};

const DEFAULT_ALIGNMENT: u64 = 32;

/// What one file declares, before its data.
#[derive(Debug)]
pub struct Header {
    path: PathBuf,
    metadata: BTreeMap<String, Value>,
    tensors: Vec<Tensor>,
}

/// One metadata value. Strings are bytes: GGUF promises UTF-8, vocabularies do not keep the promise.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    String(Vec<u8>),
    Strings(Vec<Box<[u8]>>),
    Numbers(Vec<i64>),
    /// An array that was walked over, not kept.
    Skipped {
        kind: u32,
        len: u64,
    },
}

impl Header {
    /// Reads a file up to its tensor data, and refuses what llama.cpp would not survive.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let mut reader = Reader::open(path)?;
        reader.magic()?;
        match reader.u32("the version")? {
            2 | 3 => {}
            version => return Err(Error::Version { path: path.to_path_buf(), version }),
        }
        let n_tensors = reader.u64("the number of tensors")?;
        let n_metadata = reader.u64("the number of metadata entries")?;
        // The shortest entry: an empty key, its length, a type and one byte.
        reader.expect(n_metadata, 8 + 4 + 1, "the metadata")?;
        let mut metadata = BTreeMap::new();
        for _ in 0..n_metadata {
            let (key, value) = reader.entry()?;
            if metadata.contains_key(&key) {
                return Err(reader.damaged(format!("the key `{key}` stands twice")));
            }
            metadata.insert(key, value);
        }
        let mut header = Self { path: path.to_path_buf(), metadata, tensors: Vec::new() };
        let alignment = match header.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(Value::Unsigned(n)) if n.is_power_of_two() && u32::try_from(*n).is_ok() => *n,
            Some(_) => return Err(header.unusable("general.alignment", "a power of two")),
        };
        header.tensors = tensors::read(&mut reader, n_tensors, alignment)?;
        preflight::check(&header)?;
        Ok(header)
    }

    /// The tensors in the order of their data. A file of a split model holds some, a vocabulary alone none.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// All metadata, by key.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A string entry, lossily as text. For display and for names that are ASCII by definition.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        match self.get(key)? {
            Value::String(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// An integer entry of any width.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            Value::Unsigned(x) => i64::try_from(*x).ok(),
            Value::Signed(x) => Some(*x),
            _ => None,
        }
    }

    #[must_use]
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(x) => Some(*x),
            _ => None,
        }
    }

    /// The longest text that the model was trained on, in tokens.
    pub fn n_ctx_train(&self) -> Result<usize, Error> {
        let architecture = self.text("general.architecture").unwrap_or_default();
        let key = format!("{architecture}.context_length");
        let n = self.integer(&key).and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
        n.ok_or_else(|| self.unusable(&key, "a positive number"))
    }

    /// The error for a key that is missing or of the wrong kind.
    #[must_use]
    pub fn unusable(&self, key: &str, expected: &'static str) -> Error {
        let found = match self.get(key) {
            None => "nothing".to_owned(),
            Some(value) => value.describe(),
        };
        Error::Key { path: self.path.clone(), key: key.to_owned(), expected, found }
    }
}

impl Value {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Unsigned(x) => format!("the number {x}"),
            Self::Signed(x) => format!("the number {x}"),
            Self::Float(x) => format!("the number {x}"),
            Self::Bool(x) => format!("`{x}`"),
            Self::String(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
            Self::Strings(items) => format!("{} strings", items.len()),
            Self::Numbers(items) => format!("{} numbers", items.len()),
            Self::Skipped { len, .. } => format!("an array of {len}"),
        }
    }
}
