//! What a key of a file's metadata holds.

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
    /// A long array that was read, not kept. Equal digests stand for equal contents.
    Skipped {
        kind: u32,
        len: u64,
        digest: u64,
    },
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
