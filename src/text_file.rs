//! Text files that people write: prompts, recipes, templates, grammars, schemas, saved conversations.
//!
//! In: a path and the most bytes that make sense there. Out: the text as Python's text mode and jinja2 see it, without a
//! byte order mark and with `\n` alone at the end of a line, whichever editor wrote it. Anything else is an error that
//! says what the file is. Nothing is read past the bound, and only [`read_stream`] waits for a pipe.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// What keeps a file from being read as text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read {name}: {source}")]
    Io { name: String, source: io::Error },

    #[error("{name} is {found}, expected a text file")]
    NotAFile { name: String, found: &'static str },

    #[error("{name} is too long for what it is to be: expected at most {most} bytes, got {}", got.map_or("more".to_owned(), |got| got.to_string()))]
    TooLong { name: String, most: u64, got: Option<u64> },

    #[error("{name} is {found} text, by the byte order mark that it starts with; expected UTF-8")]
    OtherUnicode { name: String, found: &'static str },

    #[error("{name} is not UTF-8 text: byte {at} is {byte:#04x}")]
    NotUtf8 { name: String, at: usize, byte: u8 },
}

impl Error {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the path, and that you may read the file",
            Self::NotAFile { .. } => "name a file on disk; what a pipe brings can be written to one first",
            Self::TooLong { .. } => "check that this is the file you mean",
            Self::OtherUnicode { found, .. } if found.starts_with("UTF-32") => {
                "save it as UTF-8, or convert it: iconv -f UTF-32 -t UTF-8 FILE > NEW"
            }
            Self::OtherUnicode { .. } => "save it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW",
            Self::NotUtf8 { .. } => "save it as UTF-8, or convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW",
        }
    }

    /// Whether there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// A file on disk of at most `most` bytes. A pipe or device is refused, since it may never come to an end.
pub fn read(path: &Path, most: u64) -> Result<String, Error> {
    let name = path.display().to_string();
    let about = about(path, &name)?;
    match what(&about) {
        None => from(open(path, &name)?, name, most, Some(about.len())),
        Some(found) => Err(Error::NotAFile { name, found }),
    }
}

/// The same, or what a pipe or device brings until its end, as in `-f <(command)`; `-` is stdin.
pub fn read_stream(path: &Path, most: u64) -> Result<String, Error> {
    if path.as_os_str() == "-" {
        return from(io::stdin().lock(), "stdin".to_owned(), most, None);
    }
    let name = path.display().to_string();
    let about = about(path, &name)?;
    if about.is_dir() {
        return Err(Error::NotAFile { name, found: "a folder" });
    }
    from(open(path, &name)?, name, most, about.is_file().then_some(about.len()))
}

/// What is there in place of a file; opening a pipe waits until somebody writes into it.
#[must_use]
pub fn what(about: &Metadata) -> Option<&'static str> {
    match about {
        _ if about.is_dir() => Some("a folder"),
        _ if !about.is_file() => Some("a pipe or device"),
        _ => None,
    }
}

/// Text from bytes, without a byte order mark and with `\n` alone at the end of a line. `name` is for the errors.
pub fn decode(bytes: Vec<u8>, name: &str) -> Result<String, Error> {
    const MARKS: [(&[u8], &str); 4] = [
        // It begins like the one of UTF-16, so it stands before that.
        (b"\xff\xfe\0\0", "UTF-32 (little-endian)"),
        (b"\0\0\xfe\xff", "UTF-32 (big-endian)"),
        (b"\xff\xfe", "UTF-16 (little-endian)"),
        (b"\xfe\xff", "UTF-16 (big-endian)"),
    ];
    if let Some((_, found)) = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Err(Error::OtherUnicode { name: name.to_owned(), found });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::NotUtf8 { name: name.to_owned(), at, byte: error.as_bytes()[at] }
    })?;
    Ok(normalised(text))
}

fn normalised(text: String) -> String {
    let without_mark = text.strip_prefix('\u{feff}');
    if without_mark.is_none() && !text.contains('\r') {
        return text;
    }
    without_mark.unwrap_or(&text).replace("\r\n", "\n").replace('\r', "\n")
}

fn about(path: &Path, name: &str) -> Result<Metadata, Error> {
    std::fs::metadata(path).map_err(|source| Error::Io { name: name.to_owned(), source })
}

fn open(path: &Path, name: &str) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::Io { name: name.to_owned(), source })
}

/// `size`: what a file on disk says of itself.
fn from(input: impl Read, name: String, most: u64, size: Option<u64>) -> Result<String, Error> {
    if size.is_some_and(|size| size > most) {
        return Err(Error::TooLong { name, most, got: size });
    }
    let mut bytes = Vec::new();
    if let Err(source) = input.take(most + 1).read_to_end(&mut bytes) {
        return Err(Error::Io { name, source });
    }
    if bytes.len() as u64 > most {
        return Err(Error::TooLong { name, most, got: None });
    }
    decode(bytes, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_editor_read_alike() {
        for (bytes, expected) in [
            (&b"a\nb\n"[..], "a\nb\n"),
            (b"\xef\xbb\xbfa\r\nb\r\n", "a\nb\n"),
            (b"a\rb\r", "a\nb\n"),
            (b"a\r\r\nb\n\r", "a\n\nb\n\n"),
            // One mark is the editor's; a second one, or one further on, is text.
            ("\u{feff}\u{feff}a\u{feff}".as_bytes(), "\u{feff}a\u{feff}"),
            (b"\xef\xbb\xbf", ""),
            (b"", ""),
        ] {
            assert_eq!(decode(bytes.to_vec(), "it").expect("UTF-8"), expected, "{bytes:?}");
        }
    }

    #[test]
    fn other_encodings_are_named() {
        for (bytes, found, command) in [
            (&b"\xff\xfea\0"[..], "UTF-16 (little-endian)", "iconv -f UTF-16"),
            (b"\xfe\xff\0a", "UTF-16 (big-endian)", "iconv -f UTF-16"),
            (b"\xff\xfe\0\0a\0\0\0", "UTF-32 (little-endian)", "iconv -f UTF-32"),
            (b"\0\0\xfe\xff\0\0\0a", "UTF-32 (big-endian)", "iconv -f UTF-32"),
            (b"caf\xe9", "byte 3 is 0xe9", "iconv -f WINDOWS-1252"),
        ] {
            let error = decode(bytes.to_vec(), "it").expect_err("not UTF-8");
            assert!(error.to_string().contains(found), "{error}");
            assert!(error.hint().contains(command), "{}", error.hint());
        }
    }

    #[test]
    fn sizes_are_bounded_and_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("text");
        std::fs::write(&path, "12345").expect("writable");
        assert_eq!(read(&path, 5).expect("it fits"), "12345");
        for reader in [read, read_stream] {
            let error = reader(&path, 4).expect_err("too long").to_string();
            assert!(error.contains("expected at most 4 bytes, got 5"), "{error}");
            let error = reader(folder.path(), 4).expect_err("a folder").to_string();
            assert!(error.contains("is a folder, expected a text file"), "{error}");
            assert!(reader(&folder.path().join("nowhere"), 4).expect_err("nothing there").is_missing());
        }
    }

    #[test]
    #[cfg(unix)]
    fn devices_come_to_an_end() {
        let endless = Path::new("/dev/zero");
        assert!(matches!(read(endless, 4), Err(Error::NotAFile { .. })));
        let error = read_stream(endless, 4).expect_err("endless").to_string();
        assert!(error.contains("expected at most 4 bytes, got more"), "{error}");
    }
}
