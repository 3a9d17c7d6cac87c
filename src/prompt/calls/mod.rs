//! How models write calls of tools: each family in its own way.
//!
//! An answer's form is decided once for all roles, since all of them are asked about the same tokens: by the template of the
//! one that is to be imitated where that template takes tools, and else it is the one that most models have seen.

mod opening;
mod reader;
mod words;

pub use opening::AROUND;
pub use reader::{Part, Reader};
pub(super) use words::{asked, results};

use serde::{Deserialize, Serialize};

use super::{Call, Template};

/// A family's way of writing calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStyle {
    /// Hermes, Qwen: `<tool_call>` around a JSON object of name and arguments.
    #[default]
    Hermes,
    /// Llama 3: a JSON object of name and parameters is the whole answer.
    Llama,
    /// Mistral: `[TOOL_CALLS]` in front of a list of JSON objects.
    Mistral,
    /// Mistral since 2025: `[TOOL_CALLS]`, the name, `[ARGS]`, the arguments.
    MistralArgs,
    /// Gemma: a block of code.
    Gemma,
}

/// What is written around names and arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// The text that tells a call from an answer in words; empty where that is the first character of the answer.
    pub trigger: &'static str,
    /// In front of the first call; it begins with the trigger.
    pub begin: &'static str,
    /// In front of a name, between name and arguments, and behind the arguments.
    pub open: &'static str,
    pub between: &'static str,
    pub close: &'static str,
    /// Between two calls, where there can be several.
    pub next: Option<&'static str>,
    /// Behind the last one.
    pub end: &'static str,
}

impl CallStyle {
    /// Of a template that takes tools and has one of the known ways.
    #[must_use]
    pub fn of(template: &Template) -> Option<Self> {
        let source = template.source();
        let has = |text: &str| source.contains(text);
        let style = if has("[ARGS]") && has("[TOOL_CALLS]") {
            Self::MistralArgs
        } else if has("[TOOL_CALLS]") {
            Self::Mistral
        } else if has("<function=") || has("<arg_key>") {
            // Arguments that are not JSON.
            return None;
        } else if has("<tool_call>") {
            Self::Hermes
        } else if has("<|python_tag|>") || (has("\"parameters\":") && has("ipython")) {
            Self::Llama
        } else {
            return None;
        };
        template.takes_tools().then_some(style)
    }

    /// The way of a model whose template takes no tools.
    #[must_use]
    pub fn without_tools(template: Option<&Template>) -> Self {
        match template {
            Some(template) if template.source().contains("<start_of_turn>") => Self::Gemma,
            _ => Self::Hermes,
        }
    }

    /// Whether a call is a JSON object of a name and arguments, which models also write without the marks around it.
    #[must_use]
    pub fn is_json(self) -> bool {
        matches!(self, Self::Hermes | Self::Llama | Self::Gemma)
    }

    /// What is written around names and arguments.
    #[must_use]
    pub fn marks(self) -> Marks {
        let json = Marks {
            trigger: "<tool_call>",
            begin: "<tool_call>\n",
            open: "{\"name\": \"",
            between: "\", \"arguments\": ",
            close: "}",
            next: Some("\n</tool_call>\n<tool_call>\n"),
            end: "\n</tool_call>",
        };
        match self {
            Self::Hermes => json,
            Self::Llama => {
                Marks { trigger: "", begin: "", between: "\", \"parameters\": ", next: None, end: "", ..json }
            }
            Self::Mistral => {
                Marks { trigger: "[TOOL_CALLS]", begin: "[TOOL_CALLS][", next: Some(", "), end: "]", ..json }
            }
            Self::MistralArgs => Marks {
                trigger: "[TOOL_CALLS]",
                begin: "[TOOL_CALLS]",
                open: "",
                between: "[ARGS]",
                close: "",
                next: Some("[TOOL_CALLS]"),
                end: "",
            },
            Self::Gemma => Marks {
                trigger: "```tool_code",
                begin: "```tool_code\n",
                next: Some("\n```\n```tool_code\n"),
                end: "\n```",
                ..json
            },
        }
    }

    /// Calls as an answer has them.
    #[must_use]
    pub fn written(self, calls: &[Call]) -> String {
        let marks = self.marks();
        let one = |call: &Call| [marks.open, &call.name, marks.between, &call.arguments, marks.close].concat();
        let all: Vec<_> = calls.iter().map(one).collect();
        if all.is_empty() {
            return String::new();
        }
        [marks.begin, &all.join(marks.next.unwrap_or("\n")), marks.end].concat()
    }
}
