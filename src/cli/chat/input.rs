//! Lines that are typed, with editing and a history, or piped in.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Completer, Config, Editor, Helper, Highlighter, Hinter};

const PROMPT: &str = "> ";

pub enum Line {
    Text(String),
    /// It was there, and was no text.
    Unreadable(anyhow::Error),
    Interrupted,
    End,
}

pub enum Input {
    Typed(Box<Typed>),
    Piped,
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
            return Ok(Self::Piped);
        }
        let config = Config::builder().auto_add_history(true).history_ignore_space(true).build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Continuation));
        let history = history_file();
        if let Some(path) = &history {
            // There is none before the first time.
            let _ = editor.load_history(path);
        }
        Ok(Self::Typed(Box::new(Typed { editor, history })))
    }

    pub fn read(&mut self) -> Result<Line> {
        match self {
            Self::Typed(typed) => typed.read(),
            Self::Piped => piped(),
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

/// The next line of stdin with those that it goes on in; what ends without a newline is a line too.
fn piped() -> Result<Line> {
    let mut stdin = std::io::stdin().lock();
    let mut text = String::new();
    loop {
        let mut bytes = Vec::new();
        if stdin.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(if text.is_empty() { Line::End } else { Line::Text(text) });
        }
        let Ok(line) = String::from_utf8(bytes) else {
            return Ok(Line::Unreadable(anyhow!("a line is not UTF-8 text, and is left out")));
        };
        let line = line.strip_suffix('\n').unwrap_or(&line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !goes_on(line) {
            text += line;
            return Ok(Line::Text(text));
        }
        text += &line[..line.len() - 1];
        text.push('\n');
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
