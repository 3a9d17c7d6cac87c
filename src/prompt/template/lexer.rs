//! Where a template's tags begin and end, and the words in them, as the engine's own lexer sees them.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Number,
    Text,
    Symbol,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub kind: Kind,
    pub at: Range<usize>,
    /// How many brackets are open around it.
    pub depth: usize,
}

/// `{{ … }}` or `{% … %}`; all positions are bytes of the source.
#[derive(Debug)]
pub(super) struct Tag {
    pub is_block: bool,
    pub tokens: Vec<Token>,
    /// Where the closing delimiter begins, with its `-` or `+`.
    pub close: usize,
    pub end: usize,
}

/// What the source has at a place.
pub(super) enum Found {
    Tag(Tag),
    /// A comment or raw block, which ends here.
    Skip(usize),
}

/// A fault and where it is.
pub(super) type Fault = (usize, &'static str);

/// The beginning of the next tag, comment or raw block.
pub(super) fn next(source: &str, from: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    (from..bytes.len()).find(|&at| bytes[at] == b'{' && matches!(bytes.get(at + 1), Some(b'{' | b'%' | b'#')))
}

/// Reads what begins at `start`.
pub(super) fn read(source: &str, start: usize) -> Result<Found, Fault> {
    let bytes = source.as_bytes();
    let inner = start + 2 + usize::from(matches!(bytes.get(start + 2), Some(b'-' | b'+')));
    match bytes[start + 1] {
        b'#' => {
            let end = source.get(inner..).and_then(|rest| rest.find("#}"));
            end.map(|end| Found::Skip(inner + end + 2)).ok_or((start, "a comment does not end"))
        }
        b'%' if lone(source, inner, "raw").is_some() => {
            raw_end(source, inner).map(Found::Skip).ok_or((start, "a raw block does not end"))
        }
        kind => read_tag(source, start, inner, kind == b'%').map(Found::Tag),
    }
}

/// Where the block tag ends whose only word is `name`.
fn lone(source: &str, at: usize, name: &str) -> Option<usize> {
    let space = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_whitespace()).len();
    let at = at + space(&source[at..]);
    let rest = source[at..].strip_prefix(name)?;
    let at = at + name.len() + space(rest);
    let at = at + usize::from(source[at..].starts_with(['-', '+']));
    source[at..].starts_with("%}").then_some(at + 2)
}

fn raw_end(source: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += source[at..].find("{%")? + 2;
        let sign = usize::from(source[at..].starts_with(['-', '+']));
        if let Some(end) = lone(source, at + sign, "endraw") {
            return Some(end);
        }
    }
}

fn read_tag(source: &str, start: usize, inner: usize, is_block: bool) -> Result<Tag, Fault> {
    let bytes = source.as_bytes();
    let delimiter: &[u8] = if is_block { b"%}" } else { b"}}" };
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    let mut at = inner;
    while let Some(c) = source[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let byte = bytes[at];
        let signed = usize::from(matches!(byte, b'-' | b'+'));
        if depth == 0 && bytes[at + signed..].starts_with(delimiter) {
            return Ok(Tag { is_block, tokens, close: at, end: at + signed + delimiter.len() });
        }
        let (kind, end) = token(source, at)?;
        let closes = kind == Kind::Symbol && matches!(byte, b')' | b']' | b'}');
        if closes {
            depth = depth.checked_sub(1).ok_or((at, "a bracket closes that was not open"))?;
        }
        tokens.push(Token { kind, at: at..end, depth });
        depth += usize::from(kind == Kind::Symbol && matches!(byte, b'(' | b'[' | b'{'));
        at = end;
    }
    Err((start, "a tag does not end"))
}

/// The kind and end of the token at `at`.
fn token(source: &str, at: usize) -> Result<(Kind, usize), Fault> {
    let rest = &source.as_bytes()[at..];
    let end = |goes_on: fn(char) -> bool| at + source[at..].find(|c| !goes_on(c)).unwrap_or(rest.len());
    Ok(match rest[0] {
        quote @ (b'\'' | b'"') => (Kind::Text, at + text_len(rest, quote).ok_or((at, "a string does not end"))?),
        b'0'..=b'9' => (Kind::Number, end(|c| c.is_ascii_alphanumeric() || c == '_')),
        _ if source[at..].starts_with(in_name) => (Kind::Name, end(in_name)),
        _ if [&b"//"[..], b"**", b"==", b"!=", b">=", b"<="].iter().any(|two| rest.starts_with(two)) => {
            (Kind::Symbol, at + 2)
        }
        _ => (Kind::Symbol, at + 1),
    })
}

/// Letters of all scripts make names. The engine is stricter, and refuses what is no letter.
fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !(c.is_ascii() || c.is_whitespace())
}

/// How long a string is with its quotes.
fn text_len(rest: &[u8], quote: u8) -> Option<usize> {
    let mut escaped = false;
    let end = rest[1..].iter().position(|&byte| {
        let ends = !escaped && byte == quote;
        escaped = !escaped && byte == b'\\';
        ends
    });
    end.map(|end| end + 2)
}
