//! A file from its start, never past its end: nothing is allocated that the file is too small to hold.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::foreign::{self, Foreign};
use super::{Error, Value};
use crate::text_file;

/// Metadata beyond this is not a model's: vocabularies of a quarter of a million tokens take some 15 MB with their
/// merges. llama.cpp needs several times as much memory as the metadata it reads.
const MAX_METADATA_BYTES: u64 = 64 << 20;
/// Longer arrays are no model's either: merges reach half a million.
const MAX_ARRAY_LEN: u64 = 4 << 20;
/// The longest key that ggml accepts.
const MAX_KEY_BYTES: u64 = 65_535;
/// Long arrays that a reader of this crate asks for; of others a digest is kept.
const KEPT_ARRAYS: [&str; 2] = ["tokenizer.ggml.tokens", "tokenizer.ggml.token_type"];
/// Arrays of integers that may have an entry for each layer are short, and kept.
const MAX_SHORT_LEN: u64 = 1024;

pub(super) struct Reader<'a, R> {
    path: &'a Path,
    input: BufReader<R>,
    offset: u64,
    size: u64,
}

impl<'a> Reader<'a, File> {
    pub(super) fn open(path: &'a Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        // Before it is opened: opening a pipe waits for somebody to write into it.
        let about = std::fs::metadata(path).map_err(io)?;
        if about.is_dir() {
            return Err(Error::Foreign { path: path.to_path_buf(), found: Foreign::folder(path), is_adapter: false });
        }
        let found = match &about {
            _ if about.is_file() && about.len() == 0 => Some("empty"),
            about => text_file::what(about),
        };
        if let Some(found) = found {
            return Err(Error::NotAFile { path: path.to_path_buf(), found });
        }
        let file = File::open(path).map_err(io)?;
        Ok(Self::new(path, file, about.len()))
    }
}

impl<'a, R: Read + Seek> Reader<'a, R> {
    /// `input` at its start, `size` bytes long; errors call it `path`.
    pub(super) fn new(path: &'a Path, input: R, size: u64) -> Self {
        Self { path, input: BufReader::new(input), offset: 0, size }
    }

    pub(super) fn magic(&mut self) -> Result<(), Error> {
        const MAGIC: &[u8] = b"GGUF";
        let mut start = Vec::new();
        let mut read = |n, start: &mut Vec<u8>| {
            let read = self.input.by_ref().take(n).read_to_end(start);
            read.map_err(|source| Error::Io { path: self.path.to_path_buf(), source })
        };
        self.offset = read(MAGIC.len() as u64, &mut start)? as u64;
        if start == MAGIC {
            return Ok(());
        }
        read(foreign::N_LOOKED_AT - self.offset, &mut start)?;
        let path = self.path.to_path_buf();
        if let Some(found) = Foreign::of(self.path, &start) {
            return Err(Error::Foreign { path, found, is_adapter: false });
        }
        start.truncate(MAGIC.len());
        Err(Error::NotGguf { path, found: String::from_utf8_lossy(&start).into_owned() })
    }

    /// A key, the type of its value as the file numbers it, and the value.
    pub(super) fn entry(&mut self) -> Result<(String, u32, Value), Error> {
        let key = self.string("a key", MAX_KEY_BYTES)?;
        let key = String::from_utf8(key).map_err(|_| self.damaged("a key is not UTF-8"))?;
        if key.is_empty() {
            return Err(self.damaged("a key is empty"));
        }
        let kind = self.u32("a value's type")?;
        let value = match kind {
            STRING => Value::String(self.string("a string", MAX_METADATA_BYTES)?),
            ARRAY => self.array(&key)?,
            kind => self.scalar(kind, &key)?,
        };
        Ok((key, kind, value))
    }

    fn array(&mut self, key: &str) -> Result<Value, Error> {
        let kind = self.u32("an array's type")?;
        let len = self.u64("an array's length")?;
        let width = match kind {
            // A string's own length.
            STRING => 8,
            ARRAY => return Err(self.damaged(format!("`{key}` is an array of arrays"))),
            kind => width(kind).ok_or_else(|| self.damaged(format!("`{key}` has the unknown type {kind}")))?,
        };
        self.expect(len, width, "an array")?;
        if len > MAX_ARRAY_LEN {
            return Err(self.damaged(format!("`{key}` has {len} entries, at most {MAX_ARRAY_LEN} are accepted")));
        }
        let is_kept = KEPT_ARRAYS.contains(&key);
        if kind == STRING && is_kept {
            let items = (0..len).map(|_| self.string("a string", MAX_METADATA_BYTES).map(Vec::into_boxed_slice));
            return Ok(Value::Strings(items.collect::<Result<_, _>>()?));
        }
        if !matches!(kind, STRING | F32 | F64) && (is_kept || len <= MAX_SHORT_LEN) {
            let integer = |value| match value {
                Value::Unsigned(x) => x.cast_signed(),
                Value::Signed(x) => x,
                other => i64::from(other == Value::Bool(true)),
            };
            let items = (0..len).map(|_| self.scalar(kind, key).map(integer)).collect::<Result<_, _>>()?;
            return Ok(Value::Numbers(items));
        }
        let mut digest = Digest::default();
        if kind == STRING {
            for _ in 0..len {
                let item = self.string("a string", MAX_METADATA_BYTES)?;
                digest.add(&(item.len() as u64).to_le_bytes());
                digest.add(&item);
            }
        } else {
            let mut left = len * width;
            let mut bytes = vec![0; left.min(1 << 16) as usize];
            while left > 0 {
                let n = left.min(bytes.len() as u64);
                self.exact(&mut bytes[..n as usize], "an array")?;
                digest.add(&bytes[..n as usize]);
                left -= n;
            }
        }
        Ok(Value::Skipped { kind, len, digest: digest.0 })
    }

    fn scalar(&mut self, kind: u32, key: &str) -> Result<Value, Error> {
        const WHAT: &str = "a number";
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.number(WHAT)?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.number(WHAT)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.number(WHAT)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.number(WHAT)?).into()),
            4 => Value::Unsigned(u32::from_le_bytes(self.number(WHAT)?).into()),
            5 => Value::Signed(i32::from_le_bytes(self.number(WHAT)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.number(WHAT)?).into()),
            7 => match self.number::<1>(WHAT)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [x] => return Err(self.damaged(format!("`{key}` is the bool {x}"))),
            },
            10 => Value::Unsigned(u64::from_le_bytes(self.number(WHAT)?)),
            11 => Value::Signed(i64::from_le_bytes(self.number(WHAT)?)),
            12 => Value::Float(f64::from_le_bytes(self.number(WHAT)?)),
            kind => return Err(self.damaged(format!("`{key}` has the unknown type {kind}"))),
        })
    }

    pub(super) fn string(&mut self, what: &'static str, most: u64) -> Result<Vec<u8>, Error> {
        let len = self.u64(what)?;
        self.expect(len, 1, what)?;
        if len > most {
            return Err(self.damaged(format!("{what} of {len} bytes, at most {most} are accepted")));
        }
        let mut bytes = vec![0; len as usize];
        self.exact(&mut bytes, what)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        self.number(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        self.number(what).map(u64::from_le_bytes)
    }

    fn number<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.exact(&mut bytes, what)?;
        Ok(bytes)
    }

    fn exact(&mut self, bytes: &mut [u8], what: &'static str) -> Result<(), Error> {
        self.expect(bytes.len() as u64, 1, what)?;
        let read = self.input.read_exact(bytes);
        read.map_err(|source| Error::Io { path: self.path.to_path_buf(), source })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Refuses `n` items of at least `width` bytes unless the file, and the bound on metadata, can hold them.
    pub(super) fn expect(&self, n: u64, width: u64, what: &'static str) -> Result<(), Error> {
        let needed = n.saturating_mul(width);
        let left = self.size.saturating_sub(self.offset);
        if needed > left {
            let path = self.path.to_path_buf();
            return Err(Error::Truncated { path, what, offset: self.offset, needed, left });
        }
        if self.offset + needed > MAX_METADATA_BYTES {
            return Err(
                self.damaged(format!("{what} reaches past the {MAX_METADATA_BYTES} bytes of metadata accepted"))
            );
        }
        Ok(())
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Where the next byte stands.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Refuses a data section of `needed` bytes, which begins at the next multiple of `alignment`, unless the file
    /// holds it.
    pub(super) fn expect_data(&self, needed: u64, alignment: u64) -> Result<(), Error> {
        let offset = self.offset.next_multiple_of(alignment);
        let left = self.size.saturating_sub(offset);
        if needed > left {
            return Err(Error::Truncated {
                path: self.path.to_path_buf(),
                what: "the tensor data",
                offset,
                needed,
                left,
            });
        }
        Ok(())
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged { path: self.path.to_path_buf(), what: what.into(), offset: self.offset }
    }
}

pub(super) const U16: u32 = 2;
const F32: u32 = 6;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const F64: u32 = 12;

/// FNV-1a: whether two arrays hold the same, without keeping either.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Bytes of one number of a GGUF type; `None` for strings, arrays and unknown types.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
