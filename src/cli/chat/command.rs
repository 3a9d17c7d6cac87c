//! What can be typed.

use anyhow::{Result, anyhow};

use super::super::report::Hinted;
use crate::recipe::Schedule;

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Nothing,
    Say(String),
    Regenerate,
    /// One for all pairs, or one for each; `None` asks what they are.
    Alpha(Option<Vec<Schedule>>),
    /// `None` asks what it is.
    System(Option<String>),
    Reset,
    Undo,
    Save(String),
    Load(String),
    Why,
    Compare,
    Help,
    Exit,
}

pub const HELP: &str = "\
/alpha [N …]     how far to steer: one value or schedule (1@0..0.5@64) for all pairs, or one for each
/why             where steering led away from the base's choice, token by token
/compare         the last message once more, answered by the base alone
/regen           the last answer once more, with other random numbers
/undo            take back the last message and its answer
/reset           begin anew
/system [TEXT]   the system prompt; \"\" for none
/save FILE       write the conversation
/load FILE       read one
/exit            leave, as ctrl-D does

A line that ends with \\ goes on in the next one. A message that begins with a slash is typed with two.
ctrl-C stops an answer.";

const NAMES: [&str; 13] =
    ["alpha", "why", "compare", "regen", "undo", "reset", "clear", "system", "save", "load", "help", "exit", "quit"];

pub fn parse(text: &str) -> Result<Command> {
    let Some(command) = text.strip_prefix('/') else {
        return Ok(if text.trim().is_empty() { Command::Nothing } else { Command::Say(text.to_owned()) });
    };
    if command.starts_with('/') {
        return Ok(Command::Say(command.to_owned()));
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    let none = |command: Command| {
        if rest.is_empty() {
            return Ok(command);
        }
        Err(anyhow!("/{name} takes nothing behind it, got {rest:?}"))
    };
    let file = |command: fn(String) -> Command| {
        if rest.is_empty() {
            return Err(anyhow!("/{name} takes the name of a file"));
        }
        Ok(command(rest.to_owned()))
    };
    match name {
        "alpha" => {
            // As --alpha has them, commas stand between pairs, but in a schedule between its parts.
            let each = |word| if str::contains(word, '@') { vec![word] } else { word.split(',').collect() };
            let alphas =
                rest.split_whitespace().flat_map(each).map(str::parse).collect::<Result<Vec<Schedule>, _>>()?;
            Ok(Command::Alpha(Some(alphas).filter(|alphas| !alphas.is_empty())))
        }
        "system" => Ok(Command::System(match rest {
            "" => None,
            "\"\"" | "''" => Some(String::new()),
            text => Some(text.to_owned()),
        })),
        "save" => file(Command::Save),
        "load" => file(Command::Load),
        "regen" => none(Command::Regenerate),
        "reset" | "clear" => none(Command::Reset),
        "undo" => none(Command::Undo),
        "why" => none(Command::Why),
        "compare" => none(Command::Compare),
        "help" | "?" => none(Command::Help),
        "exit" | "quit" => none(Command::Exit),
        _ => Err(anyhow!("there is no command /{name}")).hint(advice(name)),
    }
}

fn advice(name: &str) -> String {
    let distance = |known: &&str| strsim::osa_distance(name, known);
    let nearest = NAMES.into_iter().min_by_key(distance);
    match nearest.filter(|known| distance(known) <= 2 && distance(known) < name.len()) {
        Some(known) => format!("did you mean /{known}? A message that begins with a slash is typed with two"),
        None => "/help tells what there is; a message that begins with a slash is typed with two".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        let parsed = |text| parse(text).expect(text);
        assert_eq!(parsed("Hello /alpha"), Command::Say("Hello /alpha".to_owned()));
        assert_eq!(parsed("//etc/passwd"), Command::Say("/etc/passwd".to_owned()));
        assert_eq!(parsed("  "), Command::Nothing);
        assert_eq!(parsed("/alpha"), Command::Alpha(None));
        let two = ["0.5", "1@0..0@9"].map(|text| text.parse().expect("α")).to_vec();
        assert_eq!(parsed("/alpha 0.5  1@0..0@9"), Command::Alpha(Some(two)));
        let two = vec![Schedule::constant(0.6), Schedule::constant(0.2)];
        assert_eq!(parsed("/alpha 0.6,0.2"), Command::Alpha(Some(two)));
        assert_eq!(parsed("/system"), Command::System(None));
        assert_eq!(parsed("/system \"\""), Command::System(Some(String::new())));
        assert_eq!(parsed("/system Be  brief.\nAlways."), Command::System(Some("Be  brief.\nAlways.".to_owned())));
        assert_eq!(parsed("/save a b.json"), Command::Save("a b.json".to_owned()));
        assert_eq!(parsed("/quit"), Command::Exit);
    }

    #[test]
    fn what_is_not_a_command_is_told() {
        for text in ["/alpha x", "/alpha 99", "/save", "/why not", "/nonsense", "/"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(advice("aplha").contains("/alpha"));
    }

    #[test]
    fn every_command_is_explained() {
        for name in NAMES.iter().filter(|name| !["clear", "help", "quit"].contains(name)) {
            assert!(HELP.contains(&format!("/{name}")), "{name}");
        }
    }
}
