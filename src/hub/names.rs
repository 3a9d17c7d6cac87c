//! Names that strangers choose, before they become paths or URLs. What is refused is refused on every system, so that
//! a cache can be carried from one to another.

use super::Error;

const MAX_REPO: usize = 96;
const MAX_PATH: usize = 1024;
const MAX_PART: usize = 255;
const MAX_PARTS: usize = 16;
const MAX_QUANT: usize = 64;

/// `user/name` in the characters that the hub allows.
pub(super) fn check_repo(repo: &str) -> Result<(), Error> {
    let refuse = |why| Err(Error::Name { what: "repository", name: repo.to_owned(), why });
    let Some((user, name)) = repo.split_once('/') else { return refuse("expected user/name") };
    for part in [user, name] {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if part.is_empty() || part.len() > MAX_REPO {
            return refuse("expected 1 to 96 characters on each side of the slash");
        }
        if !part.chars().all(|c| is_word(c) || c == '-' || c == '.') {
            return refuse("expected one slash and otherwise letters, digits, `-`, `_` and `.`");
        }
        if !part.starts_with(is_word) || !part.ends_with(is_word) || part.contains("..") || part.contains("--") {
            return refuse("`-` and `.` stand between other characters, and not doubled");
        }
    }
    Ok(())
}

/// `Q4_K_M`, `UD-Q4_K_XL`: what can be part of a file name.
pub(super) fn check_quant(quant: &str) -> Result<(), Error> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if (1..=MAX_QUANT).contains(&quant.len()) && quant.chars().all(is_allowed) {
        return Ok(());
    }
    let why = "expected 1 to 64 letters, digits, `-`, `_` and `.`";
    Err(Error::Name { what: "quantisation", name: quant.to_owned(), why })
}

/// A relative path that stays below the folder it is joined to, on Windows too. Revisions are paths as well.
pub(super) fn check_path(what: &'static str, path: &str) -> Result<(), Error> {
    let refuse = |why| Err(Error::Name { what, name: path.chars().take(MAX_PATH).collect(), why });
    if path.is_empty() || path.len() > MAX_PATH || path.split('/').count() > MAX_PARTS {
        return refuse("expected 1 to 1024 bytes in at most 16 parts");
    }
    if path.chars().any(|c| c.is_control() || is_invisible(c)) {
        return refuse("it has control or invisible characters");
    }
    if path.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) {
        return refuse("it has one of \\ : * ? \" < > |");
    }
    for part in path.split('/') {
        if part.is_empty() || part == "." || part == ".." {
            return refuse("it has an empty part, `.` or `..`");
        }
        if part.len() > MAX_PART {
            return refuse("a part is longer than 255 bytes");
        }
        if part.ends_with(['.', ' ']) || is_device(part) {
            return refuse("a part ends in a dot or space, or is a device on Windows");
        }
    }
    Ok(())
}

/// Marks that turn or hide text on a terminal.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `CON`, `com1.gguf`, `NUL .txt`: Windows opens the device, whatever the extension.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let is_port =
        |digit: &str| matches!(digit, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³");
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str())
        || ["COM", "LPT"].iter().any(|port| stem.strip_prefix(port).is_some_and(is_port))
}

/// What a GGUF file's name ends with, in upper or lower case.
pub(super) const ENDING: &str = ".gguf";

pub(super) fn is_gguf(path: &str) -> bool {
    let start = path.len().saturating_sub(ENDING.len());
    path.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(ENDING))
}

/// `n` lower-case hexadecimal digits: a commit (40) or a SHA-256 (64).
pub(super) fn is_hex(text: &str, n: usize) -> bool {
    text.len() == n && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repositories() {
        for repo in ["a/b", "TheBloke/Llama-2-7B-GGUF", "_u/x.y_z-1", "a1/b.-c"] {
            assert!(check_repo(repo).is_ok(), "{repo}");
        }
        let long = format!("a/{}", "b".repeat(97));
        for repo in [
            "", "a", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a/b..c", "a/b--c", "-a/b", "a/b-", "a/.b", "a b/c",
            "a/b\n", "a\\b/c", "a/b%2e", "é/b", "a:b/c", &long,
        ] {
            assert!(check_repo(repo).is_err(), "{repo:?}");
        }
    }

    #[test]
    fn paths() {
        for path in ["a.gguf", "Q4_K_M/a-00001-of-00002.gguf", "a b (1).gguf", "é.gguf", "console.gguf", "com10.gguf"]
        {
            assert!(check_path("file", path).is_ok(), "{path}");
        }
        let (long, wide, deep) = ("a".repeat(256), "a/".repeat(600) + "b", "a/".repeat(16) + "b");
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "./a",
            "a//b",
            "a/",
            "a\\b",
            "C:a",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{202e}b",
            "a?b",
            "a.",
            "a ",
            "a./b",
            "con",
            "NUL.gguf",
            "x/aux.txt",
            "Com1",
            "lpt9.gguf",
            "COM¹",
            "nul .a",
            &long,
            &wide,
            &deep,
        ] {
            assert!(check_path("file", path).is_err(), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_path_stays_below_its_folder(path in r"(\PC|[./\\:\x00]|\.\./){0,40}") {
            if check_path("file", &path).is_ok() {
                prop_assert!(Path::new(&path).components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert!(!path.contains(['\\', ':', '\0']));
            }
        }

        #[test]
        fn an_accepted_repository_makes_one_folder(repo in r"[a-c./_\-\PC]{0,12}") {
            if check_repo(&repo).is_ok() {
                let (user, name) = repo.split_once('/').expect("one slash");
                prop_assert!(!name.contains('/'));
                let folder = format!("models--{user}--{name}");
                prop_assert!(check_path("folder", &folder).is_ok());
                prop_assert_eq!(folder.splitn(3, "--").skip(1).collect::<Vec<_>>().join("/"), repo);
            }
        }
    }
}
