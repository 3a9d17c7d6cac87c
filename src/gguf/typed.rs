//! Metadata as gguf-rs types it, for what is shown and what is estimated; nothing is decided by it.
//!
//! gguf-rs allocates before it looks at the file's size, takes strings for UTF-8 and panics on tensor types that it
//! does not know. So it only sees metadata that [`Header`] has read in full, without the tensors behind it; whatever
//! it makes of that, an error or a panic costs rows of a table.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};

use gguf_rs::{ByteOrder, GGUFContainer};
use serde_json::Value;

use super::{Header, value};
use crate::contained::contained;

/// Entries kept of the tokenizer's arrays; the others are kept in full.
const N_TOKENIZER_ENTRIES: u64 = 0;
/// gguf-rs makes some 32 bytes of each entry of an array that it keeps: more of them are not given to it.
const MAX_ENTRIES: u64 = 1 << 20;
/// Magic and version come first, then the number of tensors.
const N_TENSORS_AT: usize = 8;
const VERSION_AT: usize = 4;

/// A file's metadata by key. Empty where gguf-rs could not read it.
#[derive(Debug, Default)]
pub struct Typed(BTreeMap<String, Value>);

impl Typed {
    #[must_use]
    pub fn of(header: &Header) -> Self {
        let mut bytes = Vec::new();
        let read =
            File::open(header.path()).and_then(|file| file.take(header.metadata_bytes()).read_to_end(&mut bytes));
        read.map(|_| Self::of_bytes(header, bytes)).unwrap_or_default()
    }

    /// From the file's bytes, at least those of its metadata.
    #[must_use]
    pub fn of_bytes(header: &Header, bytes: Vec<u8>) -> Self {
        decode(header, bytes).map(Self).unwrap_or_default()
    }

    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    #[must_use]
    pub fn float(&self, key: &str) -> Option<f64> {
        self.0.get(key)?.as_f64()
    }

    /// A number for each of `n` layers: one for all, or an array of them.
    #[must_use]
    pub fn per_layer(&self, key: &str, n: usize) -> Option<Vec<u64>> {
        match self.0.get(key)? {
            Value::Array(items) if items.len() == n => items.iter().map(Value::as_u64).collect(),
            value => value.as_u64().map(|x| vec![x; n]),
        }
    }
}

fn decode(header: &Header, mut bytes: Vec<u8>) -> Option<BTreeMap<String, Value>> {
    let n_entries = |(key, value): (&str, &value::Value)| match value {
        value::Value::Skipped { len, .. } if !key.starts_with("tokenizer.") => *len,
        _ => 0,
    };
    if header.entries().map(n_entries).sum::<u64>() > MAX_ENTRIES {
        return None;
    }
    bytes.truncate(usize::try_from(header.metadata_bytes()).ok()?);
    bytes.get_mut(N_TENSORS_AT..N_TENSORS_AT + 8)?.fill(0);
    let input = Cursor::new(bytes.split_off(VERSION_AT));
    contained(move || {
        let mut container = GGUFContainer::new(ByteOrder::LE, Box::new(input), N_TOKENIZER_ENTRIES);
        container.decode().ok().map(|model| model.metadata().clone())
    })
    .ok()?
}
