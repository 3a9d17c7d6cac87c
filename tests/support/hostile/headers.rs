//! Headers of whole models with a few bytes changed, in front of as much data as there was: all of it 0, and a hole in
//! the file.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use proxytune::gguf::Header;

use super::random::{one_of, random};

/// A folder with GGUF files whose headers are taken too.
const FOLDER: &str = "PROXYTUNE_HOSTILE_MODELS";

/// A model's header, and the size of its file.
#[derive(Debug)]
pub struct Whole {
    pub name: String,
    pub size: u64,
    bytes: Vec<u8>,
    /// Where four bytes of a number stand: values, then parts of tensors' shapes and their types.
    numbers: Vec<usize>,
    shapes: Vec<usize>,
    types: Vec<usize>,
}

impl Whole {
    /// The bundled models, and those of the folder.
    pub fn all() -> Vec<Self> {
        let bundled = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo"));
        let folders = std::iter::once(bundled).chain(std::env::var_os(FOLDER).map(PathBuf::from));
        let files = folders.flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
        let mut paths: Vec<_> = files.map(|file| file.expect("an entry").path()).collect();
        paths.sort();
        let is_gguf = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "gguf");
        paths.iter().filter(is_gguf).filter_map(|path| Self::read(path).ok()).collect()
    }

    fn read(path: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let header = Header::read(path)?;
        let mut bytes = Vec::new();
        // Names, shapes and types of tensors take some hundred bytes each.
        let most = header.metadata_bytes() + 512 * header.tensors().len() as u64;
        std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
        let find = |name: &str, from: usize| {
            let at = bytes[from..].windows(name.len()).position(|window| window == name.as_bytes());
            at.map(|at| from + at + name.len())
        };
        let numbers = header.entries().filter(|(key, _)| header.integer(key).is_some());
        let numbers = numbers.filter_map(|(key, _)| Some(find(key, 0)? + 4)).collect();
        let (mut shapes, mut types, mut end) = (Vec::new(), Vec::new(), header.metadata_bytes() as usize);
        for tensor in header.tensors() {
            let shape = find(&tensor.name, end).ok_or("a tensor's name")? + 4;
            let kind = shape + 8 * tensor.shape.len();
            shapes.extend((0..tensor.shape.len()).map(|i| shape + 8 * i));
            types.push(kind);
            end = kind + 4 + 8;
        }
        bytes.truncate(end);
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        Ok(Self { name, size: path.metadata()?.len(), bytes, numbers, shapes, types })
    }

    /// Writes it with changes.
    pub fn write(&self, seed: u64, path: &Path) -> io::Result<()> {
        let mut bytes = self.bytes.clone();
        let place = |k| random(seed, k) as usize % self.bytes.len();
        match random(seed, 0) % 6 {
            0 => (0..=random(seed, 1) % 4).for_each(|k| bytes[place(k + 2)] ^= 1 << (random(seed, k + 20) % 8)),
            1 => write_u32(&mut bytes, one_of(&self.types, seed, 1), random(seed, 2) as u32 % 44),
            2 => scale(&mut bytes, one_of(&self.shapes, seed, 1), seed),
            _ => scale(&mut bytes, one_of(&self.numbers, seed, 1), seed),
        }
        std::fs::write(path, &bytes)?;
        std::fs::File::options().write(true).open(path)?.set_len(self.size)
    }
}

fn write_u32(bytes: &mut [u8], at: usize, n: u32) {
    bytes[at..at + 4].copy_from_slice(&n.to_le_bytes());
}

/// Puts something near a number in its place.
fn scale(bytes: &mut [u8], at: usize, seed: u64) {
    let old = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let near = [0, 1, old.wrapping_sub(1), old.wrapping_add(1), old / 2, old.wrapping_mul(2), 7, 64, u32::MAX];
    write_u32(bytes, at, one_of(&near, seed, 50));
}
