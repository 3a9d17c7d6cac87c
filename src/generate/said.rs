//! What an answer says, told from what it calls.

use std::hash::{BuildHasher, Hasher};

use super::answer::Answer;
use crate::prompt::CallStyle;
use crate::prompt::calls::{Part, Reader};
use crate::prompt::tools::{Call, call_id};

/// An answer's words and calls, as far as it is written.
#[derive(Debug, Clone, Default)]
pub struct Said {
    reader: Option<Reader>,
    pub text: String,
    pub calls: Vec<Call>,
    salt: u64,
}

/// What a piece of an answer adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    Text(String),
    /// A call of this number begins.
    Call {
        index: usize,
        id: String,
        name: String,
    },
    /// More of the arguments of the call of this number.
    Arguments {
        index: usize,
        text: String,
    },
}

impl Delta {
    /// The words of it, if it has some.
    #[must_use]
    pub fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Call { .. } | Self::Arguments { .. } => String::new(),
        }
    }
}

impl Said {
    /// An answer that may call these tools in this way.
    #[must_use]
    pub fn new(calls: Option<&(CallStyle, Vec<String>)>) -> Self {
        let salt = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Self { reader: calls.map(|(style, tools)| Reader::new(*style, tools)), salt, ..Self::default() }
    }

    /// Of a whole answer.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        let mut said = Self::new(answer.started.calls.as_ref());
        said.hear(&answer.text, true);
        said
    }

    /// Takes in more of the answer.
    pub fn hear(&mut self, text: &str, is_last: bool) -> Vec<Delta> {
        let parts = match &mut self.reader {
            None if text.is_empty() => Vec::new(),
            None => vec![Part::Text(text.to_owned())],
            Some(reader) => {
                let mut parts = reader.read(text);
                if is_last {
                    parts.extend(reader.finish());
                }
                parts
            }
        };
        parts.into_iter().map(|part| self.take(part)).collect()
    }

    fn take(&mut self, part: Part) -> Delta {
        match part {
            Part::Text(text) => {
                self.text += &text;
                Delta::Text(text)
            }
            Part::Name(name) => {
                let index = self.calls.len();
                let id = call_id(self.salt, index);
                self.calls.push(Call { id: id.clone(), name: name.clone(), arguments: String::new() });
                Delta::Call { index, id, name }
            }
            Part::Arguments(text) => {
                if let Some(call) = self.calls.last_mut() {
                    call.arguments += &text;
                }
                Delta::Arguments { index: self.calls.len().saturating_sub(1), text }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_calls_come_apart() {
        let calls = (CallStyle::Hermes, vec!["now".to_owned()]);
        let mut said = Said::new(Some(&calls));
        let text = "Let me see.\n<tool_call>\n{\"name\": \"now\", \"arguments\": {\"tz\": \"UTC\"}}\n</tool_call>";
        let deltas: Vec<_> =
            text.char_indices().flat_map(|(at, c)| said.hear(&text[at..at + c.len_utf8()], false)).collect();
        assert_eq!(said.text, "Let me see.");
        assert_eq!(said.calls.len(), 1);
        assert_eq!((said.calls[0].name.as_str(), said.calls[0].arguments.as_str()), ("now", "{\"tz\": \"UTC\"}"));
        assert!(deltas.contains(&Delta::Call { index: 0, id: said.calls[0].id.clone(), name: "now".to_owned() }));
        assert_eq!(said.hear("", true), []);
    }

    #[test]
    fn an_answer_without_tools_is_its_text() {
        let answer = Answer { text: "<tool_call>\n".to_owned(), ..Answer::default() };
        let said = Said::of(&answer);
        assert_eq!((said.text.as_str(), said.calls.len()), ("<tool_call>\n", 0));
        let calls = (CallStyle::Hermes, vec!["now".to_owned()]);
        let mut cut = Said::new(Some(&calls));
        assert_eq!(cut.hear("a <tool", false), [Delta::Text("a".to_owned())]);
        assert_eq!(cut.hear("", true), [Delta::Text(" <tool".to_owned())]);
    }
}
