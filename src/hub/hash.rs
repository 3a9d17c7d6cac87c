//! SHA-256 of files, block by block, so that whoever waits sees how far it is and can stop.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use ring::digest::{Context, SHA256};

use super::Error;
use super::progress::{Listener, Stage};

const BLOCK: usize = 1 << 20;

/// A hash of nothing yet.
pub(super) fn start() -> Context {
    Context::new(&SHA256)
}

/// The hash of what is left to read of a file, and how many bytes that is.
pub(super) fn read(
    file: &mut File,
    path: &Path,
    step: Stage<'_>,
    report: &mut Listener,
) -> Result<(Context, u64), Error> {
    let (mut hash, mut n_read) = (start(), 0);
    let mut block = vec![0; BLOCK];
    loop {
        report.n_done = n_read;
        report.tell(step)?;
        let n = file.read(&mut block).map_err(Error::io(path))?;
        if n == 0 {
            return Ok((hash, n_read));
        }
        hash.update(&block[..n]);
        n_read += n as u64;
    }
}

/// 64 hexadecimal digits.
pub(super) fn finish(hash: Context) -> String {
    hash.finish().as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
