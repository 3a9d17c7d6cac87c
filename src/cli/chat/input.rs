//! Lines that are typed, with editing and a history, or piped in.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Completer, Config, Editor, Helper, Highlighter, Hinter};

const PROMPT: &str = "> ";
/// A longer message is a mistake.
const MAX_LINE_BYTES: usize = 16 << 20;

pub enum Line {
    Text(String),
    /// It was there, and was no text.
    Unreadable(anyhow::Error),
    Interrupted,
    End,
}

pub enum Input {
    Typed(Box<Typed>),
    Piped(Piped),
}

/// Lines of stdin, whichever way their ends are marked.
#[derive(Default)]
pub struct Piped {
    has_begun: bool,
    /// The last line ended with a carriage return: a newline right behind it belongs to it.
    is_behind_return: bool,
}

pub struct Typed {
    editor: Editor<Continuation, DefaultHistory>,
    /// Where the history is kept.
    history: Option<PathBuf>,
}

/// A line that ends with a backslash goes on in the next one, as in llama.cpp; one that ends with two does not.
#[derive(Completer, Helper, Highlighter, Hinter)]
struct Continuation;

fn goes_on(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

impl Validator for Continuation {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let goes_on = goes_on(context.input());
        Ok(if goes_on { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Input {
    pub fn open() -> Result<Self> {
        if !std::io::stdin().is_terminal() {
            return Ok(Self::Piped(Piped::default()));
        }
        let config = Config::builder().auto_add_history(true).history_ignore_space(true).build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Continuation));
        let history = history_file();
        if let Some(path) = history.as_ref().filter(|path| path.is_file()) {
            // One that cannot be read is like none.
            let _ = editor.load_history(path);
        }
        Ok(Self::Typed(Box::new(Typed { editor, history })))
    }

    pub fn read(&mut self) -> Result<Line> {
        match self {
            Self::Typed(typed) => typed.read(),
            Self::Piped(piped) => piped.read(&mut std::io::stdin().lock()),
        }
    }
}

impl Typed {
    fn read(&mut self) -> Result<Line> {
        match self.editor.readline(PROMPT) {
            Ok(text) => Ok(Line::Text(text.replace("\\\n", "\n"))),
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(error.into()),
        }
    }
}

impl Piped {
    /// The next line with those that it goes on in; what ends without a newline is a line too.
    fn read(&mut self, input: &mut impl BufRead) -> Result<Line> {
        let mut text = String::new();
        loop {
            let Some(bytes) = self.line(input)? else {
                return Ok(if text.is_empty() { Line::End } else { Line::Text(text) });
            };
            let Ok(line) = String::from_utf8(bytes) else {
                return Ok(Line::Unreadable(anyhow!("a line is not UTF-8 text, and is left out")));
            };
            let is_first = !std::mem::replace(&mut self.has_begun, true);
            let line = line.strip_prefix('\u{feff}').filter(|_| is_first).unwrap_or(&line);
            if !goes_on(line) {
                text += line;
                return Ok(Line::Text(text));
            }
            text += &line[..line.len() - 1];
            text.push('\n');
        }
    }

    /// The bytes up to the next line end, which may be `\n`, `\r\n` or `\r`. A line is given out as soon as its end is
    /// there: somebody may wait for the answer before going on.
    fn line(&mut self, input: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let mut bytes = input.fill_buf()?;
            if bytes.is_empty() {
                return Ok(if line.is_empty() { None } else { Some(line) });
            }
            if std::mem::take(&mut self.is_behind_return) && bytes[0] == b'\n' {
                input.consume(1);
                bytes = input.fill_buf()?;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let n_text = end.unwrap_or(bytes.len());
            if line.len() + n_text > MAX_LINE_BYTES {
                return Err(anyhow!("a line on stdin is longer than the {MAX_LINE_BYTES} bytes accepted"));
            }
            line.extend_from_slice(&bytes[..n_text]);
            self.is_behind_return = end.is_some_and(|end| bytes[end] == b'\r');
            input.consume(n_text + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(Some(line));
            }
        }
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        if let Some(path) = &self.history {
            // A conversation does not fail for want of a place to remember it.
            let _ = path.parent().map(std::fs::create_dir_all);
            let _ = self.editor.save_history(path);
        }
    }
}

/// `$XDG_STATE_HOME/proxytune/chat-history`, by default under `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = named.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?;
    Some(state.join("proxytune/chat-history"))
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn piped_lines_of_every_editor_read_alike() {
        for bytes in ["a\nb\\\nc\n\nd", "\u{feff}a\r\nb\\\r\nc\r\n\r\nd\r\n", "a\rb\\\rc\r\rd\r"] {
            // A buffer of one byte, so that an end is cut in two.
            let (mut input, mut piped) = (BufReader::with_capacity(1, bytes.as_bytes()), Piped::default());
            let mut lines = Vec::new();
            while let Line::Text(line) = piped.read(&mut input).expect("it reads") {
                lines.push(line);
            }
            assert_eq!(lines, ["a", "b\nc", "", "d"], "{bytes:?}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut input = BufReader::new(std::io::repeat(b'a'));
        assert!(Piped::default().read(&mut input).is_err());
    }
}
