//! From a path to the header of a whole model: all of its files, and nothing that llama.cpp would not survive.

use std::io::{Read, Seek};
use std::path::Path;

use super::reader::Reader;
use super::{Error, Header, preflight, split};

impl Header {
    /// Reads a model up to its tensor data, and refuses what llama.cpp would not survive. Further files of a split
    /// model are read too.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let mut header = Self::file(path.as_ref())?;
        split::follow(&mut header)?;
        preflight::check(&header)?;
        Ok(header)
    }

    /// As [`Self::read`], from `size` bytes of one file; errors call it `path`.
    pub fn read_from(path: &Path, input: impl Read + Seek, size: u64) -> Result<Self, Error> {
        let header = Self::parse(path, Reader::new(path, input, size), size)?;
        preflight::check(&header)?;
        Ok(header)
    }
}
