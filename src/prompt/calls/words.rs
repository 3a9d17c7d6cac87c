//! Tools in plain words, for a role whose template knows nothing of them.

use std::fmt::Write;

use super::CallStyle;
use crate::prompt::tools::Toolbox;

/// What tools there are and how one is called, as a part of the system message.
pub fn asked(toolbox: &Toolbox, style: CallStyle) -> String {
    let mut text = "You can call functions. Each line describes one as JSON:\n".to_owned();
    for tool in &toolbox.tools {
        let described = tool.described();
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{}", described["function"]);
    }
    let marks = style.marks();
    let call = [marks.begin, marks.open, "NAME", marks.between, "{…}", marks.close, marks.end].concat();
    let _ = write!(
        text,
        "\nTo call a function, answer with its name and an object of arguments in this form, and nothing behind it:\n{call}\n\
         The result comes with the next message. Where no function is needed, answer in words."
    );
    text
}

/// The results of calls, as a message of the user's.
pub fn results(text: &str, style: CallStyle) -> String {
    match style {
        CallStyle::Gemma => format!("```tool_output\n{text}\n```"),
        _ => format!("<tool_response>\n{text}\n</tool_response>"),
    }
}
