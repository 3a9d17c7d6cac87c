//! A call that is a JSON object, wherever in an answer it begins.

/// What models write around a call, told to or not: marks of several families, fences, and what stands between the items of a list.
pub const AROUND: [&str; 15] = [
    "<tool_call>",
    "</tool_call>",
    "<tools>",
    "</tools>",
    "<tool>",
    "</tool>",
    "<function_call>",
    "</function_call>",
    "```tool_code",
    "```tool_call",
    "```json",
    "```JSON",
    "```",
    ",",
    ";",
];

/// What a text comes to as the beginning of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opening {
    /// It is none.
    No,
    /// It may become one.
    Partial,
    /// A call of this tool, whose arguments begin behind so many bytes.
    Yes { name: String, n: usize },
}

/// A text that is read as far as it goes.
struct Cursor<'a> {
    text: &'a str,
    n: usize,
}

impl Cursor<'_> {
    fn rest(&self) -> &str {
        &self.text[self.n..]
    }

    fn skip_space(&mut self) {
        self.n += self.rest().len() - self.rest().trim_start().len();
    }

    /// Goes on behind one of some words, if there is one.
    fn any<'w>(&mut self, words: impl IntoIterator<Item = &'w str> + Clone) -> Found<'w> {
        let rest = self.rest();
        // The longest counts: some begin with others.
        if words.clone().into_iter().any(|word| word.len() > rest.len() && word.starts_with(rest)) {
            return Found::TooShort;
        }
        match words.into_iter().filter(|word| rest.starts_with(word)).max_by_key(|word| word.len()) {
            Some(word) => {
                self.n += word.len();
                Found::Word(word)
            }
            None => Found::Nothing,
        }
    }
}

/// What a text goes on with.
enum Found<'w> {
    Word(&'w str),
    Nothing,
    /// More of it would tell.
    TooShort,
}

/// Reads a text that begins with a call of one of some tools, or with what stands in front of one.
pub(super) fn opening(text: &str, names: &[String]) -> Opening {
    let mut cursor = Cursor { text, n: 0 };
    // Some write two of them.
    loop {
        match cursor.any(AROUND) {
            Found::TooShort => return Opening::Partial,
            Found::Nothing => break,
            Found::Word(_) => cursor.skip_space(),
        }
    }
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let mut name = None;
    for step in 0..7 {
        if cursor.rest().is_empty() {
            return Opening::Partial;
        }
        let found = match step {
            0 => cursor.any(["{"]),
            1 => cursor.any(["\"name\""]),
            2 | 6 => cursor.any([":"]),
            3 => cursor.any(quoted.iter().map(String::as_str)),
            4 => cursor.any([","]),
            _ => cursor.any(["\"arguments\"", "\"parameters\""]),
        };
        match found {
            Found::TooShort => return Opening::Partial,
            Found::Nothing => return Opening::No,
            Found::Word(word) if step == 3 => name = Some(word.trim_matches('"').to_owned()),
            Found::Word(_) => {}
        }
        cursor.skip_space();
    }
    match name {
        Some(name) if !cursor.rest().is_empty() => Opening::Yes { name, n: cursor.n },
        Some(_) => Opening::Partial,
        None => Opening::No,
    }
}
