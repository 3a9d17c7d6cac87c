//! One file from the hub into the cache: resumed where it was cut, verified before it has its name.

use std::fs;
use std::io::Read;

use ureq::http::header;

use super::cache::{self, Shelf};
use super::client::{Answer, Client};
use super::listing::Entry;
use super::partial::Partial;
use super::patience::Tries;
use super::progress::{Listener, Stage};
use super::url::encode_path;
use super::{Error, Wanted};

const BLOCK: usize = 128 << 10;
/// A try that brings this much was worth it, and the next failure counts as the first.
const WORTH_IT: u64 = 1 << 20;

pub(super) struct Transfer<'a> {
    pub client: &'a Client,
    pub shelf: &'a Shelf<'a>,
    pub wanted: &'a Wanted,
    pub commit: &'a str,
    pub entry: &'a Entry,
}

impl Transfer<'_> {
    /// Leaves the file in the snapshot.
    pub fn run(&self, report: &mut Listener) -> Result<(), Error> {
        let sha256 = self.entry.sha256()?;
        let blob = self.shelf.blob(sha256)?;
        let _lock = self.shelf.lock(sha256, report)?;
        // Another process may have brought it while we waited.
        if !self.shelf.is_good(&blob, self.entry, report)? {
            let mut partial = Partial::open(cache::partial(&blob), self.entry, report)?;
            self.fill(&mut partial, report)?;
            let path = partial.verify(self.entry)?;
            fs::rename(&path, &blob).map_err(Error::io(&blob))?;
            self.shelf.note_verified(&blob, sha256);
        }
        if self.shelf.is_linked(self.commit, self.entry, &blob) {
            return Ok(());
        }
        self.shelf.link(self.commit, self.entry, &blob)
    }

    fn fill(&self, partial: &mut Partial, report: &mut Listener) -> Result<(), Error> {
        let mut tries = Tries::new(&self.client.patience);
        // Only what was never reached before counts, or a hub that lets us start over could keep us for ever.
        let mut n_best = partial.n_done();
        while partial.n_done() < self.entry.size {
            let Err(error) = self.try_once(partial, report) else { continue };
            if partial.n_done() >= n_best + WORTH_IT {
                n_best = partial.n_done();
                tries.restart();
            }
            tries.wait(error, report)?;
        }
        Ok(())
    }

    fn try_once(&self, partial: &mut Partial, report: &mut Listener) -> Result<(), Error> {
        let Self { client, wanted, commit, entry, .. } = self;
        let path = format!("/{}/resolve/{commit}/{}", wanted.repo, encode_path(&entry.path));
        report.tell(Stage::Transferring)?;
        let mut answer = client.get(&client.endpoint.below(&path)?, partial.n_done(), None)?;
        self.check(&answer, partial)?;
        report.n_done = partial.n_done();
        let mut block = vec![0; BLOCK];
        loop {
            report.tell(Stage::Transferring)?;
            let n = answer.body.read(&mut block).map_err(|error| answer.cut(error))?;
            let left = entry.size - partial.n_done();
            if n as u64 > left {
                return Err(self.length(entry.size + (n as u64 - left)));
            }
            if n == 0 {
                let cut = || answer.cut(format_args!("it ended {left} bytes too early"));
                return if left == 0 { Ok(()) } else { Err(cut()) };
            }
            partial.append(&block[..n], left)?;
            report.n_done = partial.n_done();
        }
    }

    /// Makes sure that the body goes on where the partial file ends, which a refusal to may empty.
    fn check(&self, answer: &Answer, partial: &mut Partial) -> Result<(), Error> {
        let (start, size) = (partial.n_done(), self.entry.size);
        if answer.header(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(Error::Refused(format!("{} is packed, which was not asked for", answer.url)));
        }
        match answer.status {
            // The whole file, whatever was asked for.
            200 => {
                partial.restart()?;
                match answer.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()) {
                    Some(length) if length != size => Err(self.length(length)),
                    _ => Ok(()),
                }
            }
            206 if start > 0 => match answer.header(header::CONTENT_RANGE).and_then(range) {
                Some((_, _, total)) if total != size => Err(self.length(total)),
                Some((first, last, _)) if first == start && (start..size).contains(&last) => Ok(()),
                _ => {
                    partial.restart()?;
                    Err(answer.cut(format_args!("bytes from {start} on were asked for and others came; starting over")))
                }
            },
            416 if start > 0 => {
                partial.restart()?;
                Err(answer.cut(format_args!("it has nothing from byte {start} on; starting over")))
            }
            _ => Err(self.client.fault(answer, &format!("{}/{}", self.wanted.repo, self.entry.path))),
        }
    }

    fn length(&self, got: u64) -> Error {
        Error::Length { file: self.entry.path.clone(), expected: self.entry.size, got }
    }
}

/// `bytes 100-199/200` as (100, 199, 200).
fn range(value: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges() {
        assert_eq!(range("bytes 100-199/200"), Some((100, 199, 200)));
        for value in ["bytes */200", "bytes 1-2/*", "100-199/200", "bytes -1-2/3", "bytes 1-2", ""] {
            assert_eq!(range(value), None, "{value}");
        }
    }
}
