//! Tools of a conversation in the terminal: offered from a file, run by the person who types.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use clap::Args as ClapArgs;
use serde_json::Value;

use super::text::read_text;
use crate::prompt::{Choice, Tool, Toolbox};

/// What answers may call.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Tools")]
pub struct ToolArgs {
    /// A JSON file with functions that answers may call, as chat APIs have them in `tools`; calls are shown, and what they
    /// came to is typed in
    #[arg(long, value_name = "FNAME")]
    pub tools_file: Option<PathBuf>,
    /// What has to be called: auto, none, required, or the name of a function [default: auto]
    #[arg(long, value_name = "CHOICE", requires = "tools_file")]
    pub tool_choice: Option<String>,
    /// One call in an answer at most
    #[arg(long, requires = "tools_file")]
    pub no_parallel_tool_calls: bool,
}

impl ToolArgs {
    /// The tools, if there are some and they may be called.
    pub fn toolbox(&self) -> Result<Option<Toolbox>> {
        let Some(path) = &self.tools_file else { return Ok(None) };
        let choice = match self.tool_choice.as_deref() {
            None | Some("auto") => Choice::Auto,
            Some("none") => return Ok(None),
            Some("required") => Choice::Required,
            Some(name) => Choice::Named(name.to_owned()),
        };
        let tools = read(path)?;
        let toolbox = Toolbox { tools, choice, parallel: !self.no_parallel_tool_calls };
        toolbox.check().map_err(|words| anyhow!("{}: {words}", path.display()))?;
        Ok(Some(toolbox))
    }
}

fn read(path: &Path) -> Result<Vec<Tool>> {
    const EXPECTED: &str =
        r#"a list of {"type": "function", "function": {"name": …, "description": …, "parameters": SCHEMA}}"#;
    let told = |words: String| Err(anyhow!("{} offers no tools: {words}, expected {EXPECTED}", path.display()));
    let value: Value = match serde_json::from_str(&read_text(path)?) {
        Ok(value) => value,
        Err(error) => return told(format!("it is not JSON: {error}")),
    };
    let Some(list) = value.get("tools").unwrap_or(&value).as_array() else {
        return told("there is no list".to_owned());
    };
    let mut tools = Vec::new();
    for (i, tool) in list.iter().enumerate() {
        match serde_json::from_value(tool.get("function").unwrap_or(tool).clone()) {
            Ok(tool) => tools.push(tool),
            Err(error) => return told(format!("tools[{i}]: {error}")),
        }
    }
    Ok(tools)
}
