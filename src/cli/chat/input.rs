//! Lines that are typed, with editing and a history, or piped in.

use std::io::IsTerminal;
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

pub struct Input {
    editor: Editor<Continuation, DefaultHistory>,
    /// Where the history is kept, for a person at a terminal.
    history: Option<PathBuf>,
}

/// A line that ends with a backslash goes on in the next one, as in llama.cpp.
#[derive(Completer, Helper, Highlighter, Hinter)]
struct Continuation;

impl Validator for Continuation {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let goes_on = context.input().ends_with('\\');
        Ok(if goes_on { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Input {
    pub fn open() -> Result<Self> {
        let config = Config::builder().auto_add_history(true).history_ignore_space(true).build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Continuation));
        let history = std::io::stdin().is_terminal().then(history_file).flatten();
        if let Some(path) = &history {
            // There is none before the first time.
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    pub fn read(&mut self) -> Result<Line> {
        match self.editor.readline(PROMPT) {
            Ok(text) => Ok(Line::Text(text.replace("\\\n", "\n"))),
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(ReadlineError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                Ok(Line::Unreadable(anyhow!("a line is not UTF-8 text, and is left out")))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Input {
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
