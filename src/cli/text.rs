//! Texts that people give: typed, in files, piped in.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Result, anyhow};

/// More text than this is a mistake.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// A text file, or stdin for `-`: UTF-8 of a size that a memory holds.
pub fn read_text(path: &Path) -> Result<String> {
    let is_stdin = path.as_os_str() == "-";
    let name = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
    let unreadable = |error| anyhow!("cannot read {name}: {error}");
    let input: Box<dyn Read> =
        if is_stdin { Box::new(std::io::stdin()) } else { Box::new(File::open(path).map_err(unreadable)?) };
    let mut bytes = Vec::new();
    input.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(anyhow!("{name} is longer than the {} MiB of text accepted", MAX_TEXT_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow!("{name} is not UTF-8 text: byte {at} is {:#04x}", error.as_bytes()[at])
    })
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
