//! The pure rooms of proxytune by their paths, and small GGUF files for them, made of a fuzzer's bytes.

#![allow(dead_code)]

#[path = "../../src/arithmetic/mod.rs"]
pub mod arithmetic;
#[path = "../../src/constraint/mod.rs"]
pub mod constraint;
#[path = "../../src/contained.rs"]
pub mod contained;
#[path = "../../src/gguf/mod.rs"]
pub mod gguf;
/// The part of the boundary to llama.cpp that is plain Rust.
pub mod llama {
    pub type Token = i32;

    /// What of its errors grammars have.
    #[derive(Debug)]
    pub enum Error {
        Grammar { reason: String },
    }

    #[path = "../../../src/llama"]
    pub mod gbnf {
        //! As the file of that name has it.

        #[path = "gbnf/graph.rs"]
        mod graph;
        #[path = "gbnf/reader.rs"]
        mod reader;

        pub use reader::MAX_DEPTH;

        pub fn check(grammar: &str) -> Result<(), String> {
            graph::Graph::of(&reader::rules(grammar)?).check()
        }
    }
    #[path = "../../../src/llama/grammar.rs"]
    pub mod grammar;
    #[path = "../../../src/llama/parts.rs"]
    mod parts;
    #[path = "../../../src/llama/specials.rs"]
    mod specials;
    #[path = "../../../src/llama/spelling.rs"]
    mod spelling;

    pub mod pieces;
}
#[path = "../../src/parameter.rs"]
pub mod parameter;
#[path = "../../src/prompt/mod.rs"]
pub mod prompt;
#[path = "../../src/sampling/mod.rs"]
pub mod sampling;
#[path = "../../src/text_file.rs"]
pub mod text_file;
#[path = "../../src/vocab/mod.rs"]
pub mod vocab;

use std::io::Cursor;
use std::path::Path;

use gguf::Header;

/// Reads bytes as a file.
pub fn read(bytes: &[u8]) -> Result<Header, gguf::Error> {
    Header::read_from(Path::new("input.gguf"), Cursor::new(bytes), bytes.len() as u64)
}

/// The metadata of a file without tensors, entry by entry.
#[derive(Default)]
pub struct Metadata {
    n: u64,
    entries: Vec<u8>,
}

impl Metadata {
    fn key(&mut self, key: &str, kind: u32) -> &mut Vec<u8> {
        self.n += 1;
        self.entries.extend((key.len() as u64).to_le_bytes());
        self.entries.extend(key.as_bytes());
        self.entries.extend(kind.to_le_bytes());
        &mut self.entries
    }

    pub fn text(&mut self, key: &str, text: &[u8]) {
        let out = self.key(key, 8);
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text);
    }

    pub fn u32(&mut self, key: &str, x: u32) {
        self.key(key, 4).extend(x.to_le_bytes());
    }

    pub fn i32s(&mut self, key: &str, items: &[i32]) {
        let out = self.key(key, 9);
        out.extend(5_u32.to_le_bytes());
        out.extend((items.len() as u64).to_le_bytes());
        items.iter().for_each(|x| out.extend(x.to_le_bytes()));
    }

    pub fn texts(&mut self, key: &str, items: &[&[u8]]) {
        let out = self.key(key, 9);
        out.extend(8_u32.to_le_bytes());
        out.extend((items.len() as u64).to_le_bytes());
        for item in items {
            out.extend((item.len() as u64).to_le_bytes());
            out.extend(*item);
        }
    }

    /// The whole file.
    pub fn file(self) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(self.n.to_le_bytes());
        bytes.extend(self.entries);
        bytes
    }
}
