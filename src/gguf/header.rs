//! A GGUF file's metadata and tensor table (format: ggml's `docs/gguf.md`, versions 2 and 3, little-endian).

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use super::reader::Reader;
use super::tensors::{self, MAX_LAYERS, MAX_TENSORS_PER_LAYER, Tensor};
use super::{Error, Value};

/// GGUF's alignment where the file does not tell, and the least that llama.cpp's buffers take: mapped weights stand in
/// them as they stand in the file.
const ALIGNMENT: u64 = 32;
/// llama.cpp compares each key with all before it. It names some four hundred, and a model card brings a few dozens.
const MAX_KEYS: u64 = 10_000;

/// What a model's file, or its first file and those that it is split into, declares before its data.
#[derive(Debug)]
pub struct Header {
    path: PathBuf,
    pub(super) metadata: BTreeMap<String, Entry>,
    metadata_bytes: u64,
    pub(super) tensors: Vec<Tensor>,
    pub(super) n_files: usize,
    pub(super) n_bytes: u64,
}

/// A value with the number of its type in the file: llama.cpp takes some keys in one type only.
#[derive(Debug)]
pub(super) struct Entry {
    pub kind: u32,
    pub value: Value,
}

impl Header {
    /// One file by itself, well-formed and no more.
    pub(super) fn file(path: &Path) -> Result<Self, Error> {
        let reader = Reader::open(path)?;
        let size = reader.size();
        Self::parse(path, reader, size)
    }

    pub(super) fn parse(path: &Path, mut reader: Reader<'_, impl Read + Seek>, size: u64) -> Result<Self, Error> {
        reader.magic()?;
        match reader.u32("the version")? {
            2 | 3 => {}
            version => return Err(Error::Version { path: path.to_path_buf(), version }),
        }
        let n_tensors = reader.u64("the number of tensors")?;
        let n_metadata = reader.u64("the number of metadata entries")?;
        if n_metadata > MAX_KEYS {
            return Err(Error::TooMany { path: path.to_path_buf(), what: "keys", n: n_metadata, most: MAX_KEYS });
        }
        // The shortest entry: an empty key, its length, a type and one byte.
        reader.expect(n_metadata, 8 + 4 + 1, "the metadata")?;
        let mut metadata = BTreeMap::new();
        for _ in 0..n_metadata {
            let (key, kind, value) = reader.entry()?;
            if metadata.contains_key(&key) {
                return Err(reader.damaged(format!("the key `{key}` stands twice")));
            }
            metadata.insert(key, Entry { kind, value });
        }
        let metadata_bytes = reader.offset();
        let path = path.to_path_buf();
        let mut header = Self { path, metadata, metadata_bytes, tensors: Vec::new(), n_files: 1, n_bytes: size };
        let alignment = match header.get("general.alignment") {
            None => ALIGNMENT,
            Some(Value::Unsigned(n)) if n.is_power_of_two() && *n >= ALIGNMENT && u32::try_from(*n).is_ok() => *n,
            Some(_) => return Err(header.unusable("general.alignment", "a power of two, 32 or more")),
        };
        header.check_n_tensors(n_tensors)?;
        header.tensors = tensors::read(&mut reader, n_tensors, alignment)?;
        Ok(header)
    }

    /// Refuses more tensors than a model of so many layers has.
    pub(super) fn check_n_tensors(&self, n: u64) -> Result<(), Error> {
        // Further files of a split model, and adapters, do not say how many layers there are.
        let n_layer = self.integer(&format!("{}.block_count", self.architecture()));
        let n_layer = n_layer.map_or(MAX_LAYERS, |n| n.clamp(0, MAX_LAYERS));
        let most = (n_layer.unsigned_abs() + 1) * MAX_TENSORS_PER_LAYER;
        if n > most {
            return Err(Error::TooMany { path: self.path.clone(), what: "tensors", n, most });
        }
        Ok(())
    }

    /// The tensors in the order of their data. A vocabulary alone has none.
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
        self.metadata.get(key).map(|entry| &entry.value)
    }

    /// How many bytes the metadata of the first file takes, from its start.
    #[must_use]
    pub fn metadata_bytes(&self) -> u64 {
        self.metadata_bytes
    }

    /// Files that the model is split into, and their bytes together.
    #[must_use]
    pub fn size(&self) -> (usize, u64) {
        (self.n_files, self.n_bytes)
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.n_bytes).fold(0, u64::saturating_add)
    }

    /// All metadata, by key.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.metadata.iter().map(|(key, entry)| (key.as_str(), &entry.value))
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

    /// What llama.cpp calls the kind of model.
    #[must_use]
    pub fn architecture(&self) -> String {
        self.text("general.architecture").unwrap_or_default()
    }

    /// The longest text that the model was trained on, in tokens.
    pub fn n_ctx_train(&self) -> Result<usize, Error> {
        let key = format!("{}.context_length", self.architecture());
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
        self.found(key, expected, found)
    }

    /// The error for a key whose value, as it is described, cannot be used.
    #[must_use]
    pub fn found(&self, key: &str, expected: &'static str, found: String) -> Error {
        Error::Key { path: self.path.clone(), key: key.to_owned(), expected, found }
    }
}
