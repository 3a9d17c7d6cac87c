//! Texts that people give: typed, in files, piped in.

use std::path::Path;

use anyhow::Result;

use crate::text_file;

/// More text than this is a mistake.
const MAX_BYTES: u64 = 256 << 20;

/// A text file, what a pipe brings, or stdin for `-`.
pub fn read_text(path: &Path) -> Result<String> {
    Ok(text_file::read_stream(path, MAX_BYTES)?)
}

/// A text file that is there to stay: a pipe is none.
pub fn read_file(path: &Path) -> Result<String> {
    Ok(text_file::read(path, MAX_BYTES)?)
}

/// The newline that ends a file is not part of the prompt, as in llama.cpp.
pub fn without_last_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// Text as it was typed, or unescaped.
pub fn escaped(text: &str, escape: bool) -> String {
    if escape { unescape(text) } else { text.to_owned() }
}

/// What llama.cpp makes of `\n`, `\r`, `\t`, `\'`, `\"`, `\\` and `\xHH` (ASCII) in a prompt.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out += before;
        let simple = after.chars().next().and_then(|c| match c {
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            '\'' | '"' | '\\' => Some(c),
            _ => None,
        });
        let hex =
            || after.strip_prefix('x').and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok()).filter(u8::is_ascii);
        rest = if let Some(c) = simple {
            out.push(c);
            &after[1..]
        } else if let Some(byte) = hex() {
            out.push(char::from(byte));
            &after[3..]
        } else {
            out.push('\\');
            after
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes_are_llama_cpps() {
        for (typed, expected) in [
            (r"a\nb", "a\nb"),
            (r"\t\\n\'", "\t\\n'"),
            (r"\x41\xe9\x4", r"A\xe9\x4"),
            (r"end\", r"end\"),
            ("é\\é", "é\\é"),
        ] {
            assert_eq!(unescape(typed), expected);
        }
    }
}
