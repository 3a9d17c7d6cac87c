//! Tools that an answer may call.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most tools of a conversation, and most characters of a name.
pub const MAX_TOOLS: usize = 128;
const MAX_NAME: usize = 64;

/// What is offered, and what has to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolbox {
    pub tools: Vec<Tool>,
    #[serde(default)]
    pub choice: Choice,
    /// An answer may call several at once.
    #[serde(default = "yes")]
    pub parallel: bool,
}

fn yes() -> bool {
    true
}

/// A function that somebody else runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    /// A JSON schema of its arguments, which are an object.
    #[serde(default = "no_parameters")]
    pub parameters: Value,
    /// What cannot be kept of the schema is refused, and not left out.
    #[serde(default)]
    pub strict: bool,
}

fn no_parameters() -> Value {
    json!({"type": "object", "properties": {}})
}

/// What of the tools has to be called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Any, or none.
    #[default]
    Auto,
    /// Any.
    Required,
    Named(String),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub id: String,
    pub name: String,
    /// A JSON object, as it was written.
    pub arguments: String,
}

impl Toolbox {
    /// Refuses what no model could be told of.
    pub fn check(&self) -> Result<(), String> {
        if self.tools.is_empty() || self.tools.len() > MAX_TOOLS {
            return Err(format!("{} tools, expected 1 to {MAX_TOOLS}", self.tools.len()));
        }
        for (i, tool) in self.tools.iter().enumerate() {
            tool.check()?;
            if self.tools[..i].iter().any(|other| other.name == tool.name) {
                return Err(format!("two tools are called {:?}", tool.name));
            }
        }
        match &self.choice {
            Choice::Named(name) if self.tools.iter().all(|tool| tool.name != *name) => {
                Err(format!("no tool is called {name:?}, there are: {}", self.names().join(", ")))
            }
            _ => Ok(()),
        }
    }

    /// The tools' names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.tools.iter().map(|tool| tool.name.as_str()).collect()
    }

    /// Those that may be called.
    pub fn callable(&self) -> impl Iterator<Item = &Tool> {
        let is_meant = |tool: &&Tool| !matches!(&self.choice, Choice::Named(name) if *name != tool.name);
        self.tools.iter().filter(is_meant)
    }
}

impl Tool {
    fn check(&self) -> Result<(), String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if self.name.is_empty() || self.name.len() > MAX_NAME || !self.name.chars().all(is_plain) {
            let name: String = self.name.chars().take(MAX_NAME).collect();
            return Err(format!("a tool is called {name:?}, expected 1 to {MAX_NAME} letters, digits, _, - or ."));
        }
        let types = self.parameters.get("type");
        if types.is_some_and(|types| !(types == "object" || types.is_array())) || !self.parameters.is_object() {
            let got: String = self.parameters.to_string().chars().take(MAX_NAME).collect();
            return Err(format!("the parameters of {} are {got}, expected a JSON schema of an object", self.name));
        }
        Ok(())
    }

    /// As templates are given it, in the words of `OpenAI`'s API.
    #[must_use]
    pub fn described(&self) -> Value {
        json!({"type": "function", "function": {
            "name": self.name, "description": self.description.as_deref().unwrap_or_default(), "parameters": self.parameters,
        }})
    }
}

/// An id of nine letters and digits, which is what some templates insist on: of the `n`-th call of a conversation or an answer.
#[must_use]
pub fn call_id(salt: u64, n: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // SplitMix64, so that neighbours do not look alike.
    let mut x = salt.wrapping_add((n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    let digit = |i: u32| char::from(DIGITS[(x / 62_u64.pow(i) % 62) as usize]);
    (0..9).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolbox(names: &[&str], choice: Choice) -> Toolbox {
        let tool = |name: &&str| Tool {
            name: (*name).to_owned(),
            description: None,
            parameters: no_parameters(),
            strict: false,
        };
        Toolbox { tools: names.iter().map(tool).collect(), choice, parallel: true }
    }

    #[test]
    fn what_no_model_could_be_told_is_refused() {
        assert_eq!(toolbox(&["a", "b.c-d_1"], Choice::Named("a".to_owned())).check(), Ok(()));
        let long = "a".repeat(65);
        for (toolbox, words) in [
            (toolbox(&[], Choice::Auto), "0 tools"),
            (toolbox(&["a"; 129], Choice::Auto), "129 tools"),
            (toolbox(&["a", "a"], Choice::Auto), "two tools are called \"a\""),
            (toolbox(&["a b"], Choice::Auto), "\"a b\""),
            (toolbox(&[""], Choice::Auto), "expected 1 to 64"),
            (toolbox(&[&long], Choice::Auto), "expected 1 to 64"),
            (toolbox(&["a", "b"], Choice::Named("c".to_owned())), "there are: a, b"),
        ] {
            let refused = toolbox.check().expect_err(words);
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn ids_have_nine_characters_and_differ() {
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|n| call_id(7, n)).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric())));
    }
}
