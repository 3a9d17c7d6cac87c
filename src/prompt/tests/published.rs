//! Templates that people use, in a folder of whoever runs this: what we make of them beside Python's jinja2.
//!
//! `PROXYTUNE_TEMPLATES` names the folder, whose `*.jinja` are read; `PROXYTUNE_PYTHON` an interpreter with jinja2
//! (`python3` unless it is set). `--nocapture` shows what becomes of each template.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};
use serde_json::{Value, json};

use super::*;
use crate::prompt::turns::{self, Turn};
use crate::prompt::{Call, CallStyle, Choice, Tool, Toolbox, tools};

/// The least share of templates that we write as jinja2 does.
const LEAST_PERCENT: usize = 97;
/// The hour of `strftime_now`.
const NOW: i64 = 1_720_000_000;
const ODD: &str = "  h\u{e9}llo <|im_end|> {{ x }} '\"\\\n\n\u{4f60}\u{597d}\t[INST] \u{1f642} & <b>\u{a0}";

fn conversations() -> Vec<Conversation> {
    let odd = [&format!("user: {ODD}"), "assistant: <think>\nhm\n</think>\n\nFour.", &format!("user: {ODD}")];
    [
        &["system: Be brief.", "user: Hi"][..],
        &["user: Hi"],
        &["system: Be brief.", "user: Hi", "assistant: Hello!", "user: What is 2 + 2?", "assistant: 4", "user: Bye"],
        &odd,
    ]
    .map(conversation)
    .into()
}

/// What a template makes of a conversation: a text, or why there is none.
type Fate = Result<String, String>;

enum Verdict {
    Equal,
    /// jinja2 fails where we do, or where we do not.
    BothFail,
    Lenient,
    Refused(String),
    Different {
        ours: String,
        expected: String,
    },
}

/// The templates by their names, if there are some.
fn sources() -> Option<BTreeMap<String, String>> {
    let Some(folder) = env::var_os("PROXYTUNE_TEMPLATES") else {
        println!("skipped: PROXYTUNE_TEMPLATES names no folder of templates");
        return None;
    };
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("PROXYTUNE_TEMPLATES is a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "jinja") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            sources.insert(name, fs::read_to_string(&path).expect("UTF-8"));
        }
    }
    Some(sources)
}

/// The messages as jinja2 is given them, with the system message where it is and in front of the first user message.
fn both_ways(conversation: &Conversation) -> [Value; 2] {
    let turns: Vec<_> =
        conversation.messages.iter().map(|message| Turn::new(message.speaker, message.text.as_str())).collect();
    let messages = |turns: &[Turn]| turns.iter().map(|turn| json!([turn.speaker.name(), turn.text])).collect::<Value>();
    [messages(&turns), messages(&turns::merged(&turns))]
}

/// What jinja2 writes, for each template two texts a conversation.
fn by_jinja2(sources: &BTreeMap<String, String>, conversations: &[Value]) -> BTreeMap<String, Vec<Fate>> {
    let python = env::var_os("PROXYTUNE_PYTHON").unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/jinja.py");
    let given = json!({ "sources": sources, "conversations": conversations, "now": NOW });
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("PROXYTUNE_PYTHON is an interpreter");
    let stdin = child.stdin.take().expect("piped");
    serde_json::to_writer(stdin, &given).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let written: BTreeMap<String, Vec<BTreeMap<String, String>>> =
        serde_json::from_slice(&output.stdout).expect("PROXYTUNE_PYTHON has jinja2");
    let fate = |mut written: BTreeMap<String, String>| match written.remove("text") {
        Some(text) => Ok(text),
        None => Err(written.remove("error").unwrap_or_default()),
    };
    written.into_iter().map(|(name, fates)| (name, fates.into_iter().map(fate).collect())).collect()
}

fn clock() -> ZonedDateTime {
    Timestamp::from_second(NOW).expect("in range").to_zoned_datetime(TimeZone::UTC)
}

fn ours(source: &str, conversation: &Conversation) -> Fate {
    let template = Template::new(source, "<s>", "</s>").map_err(|error| error.to_string())?;
    let template = Arc::new(template.with_clock(clock));
    let pieces = View { template: Some(template), ..View::default() }.render(conversation);
    let pieces = pieces.map_err(|error| error.to_string())?;
    Ok(pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Template(text) | Piece::Content(text) => text,
            Piece::Raw(_) | Piece::Tokens(_) => String::new(),
        })
        .collect())
}

fn verdict(ours: Fate, [apart, merged]: &[Fate; 2], system: Option<&str>) -> Verdict {
    let is_kept = apart.as_ref().is_ok_and(|text| system.is_none_or(|system| text.contains(system)));
    match (ours, if is_kept { apart } else { merged }) {
        (Ok(ours), Ok(expected)) if ours == *expected => Verdict::Equal,
        (Ok(ours), Ok(expected)) => Verdict::Different { ours, expected: expected.clone() },
        (Ok(_), Err(_)) => Verdict::Lenient,
        (Err(_), Err(_)) => Verdict::BothFail,
        (Err(reason), Ok(_)) => Verdict::Refused(reason),
    }
}

#[test]
fn published_templates_are_written_as_jinja2_writes_them() {
    let Some(sources) = sources() else { return };
    let conversations = conversations();
    let given: Vec<_> = conversations.iter().flat_map(both_ways).collect();
    let expected = by_jinja2(&sources, &given);
    // The templates, not the conversations: one counts by the worst that becomes of it.
    let (mut n_equal, mut n_of_theirs) = (0, 0);
    for (name, source) in &sources {
        let (pairs, _) = expected[name].as_chunks::<2>();
        let fates = conversations.iter().zip(pairs).map(|(conversation, pair)| {
            let system = conversation.messages.iter().find(|message| message.speaker == Speaker::System);
            verdict(ours(source, conversation), pair, system.map(|message| message.text.as_str()))
        });
        let fates: Vec<_> = fates.collect();
        // A template that jinja2 makes nothing of is none.
        if fates.iter().all(|fate| matches!(fate, Verdict::BothFail | Verdict::Lenient)) {
            n_of_theirs += 1;
            println!("fails    {name}: {:?}", expected[name][0]);
            continue;
        }
        let worst = fates.iter().find(|fate| matches!(fate, Verdict::Refused(_) | Verdict::Different { .. }));
        match worst {
            Some(Verdict::Refused(reason)) => println!("refused  {name}: {reason}"),
            Some(Verdict::Different { ours, expected }) => {
                println!("differs  {name}\n  ours     {ours:?}\n  expected {expected:?}");
            }
            _ => n_equal += 1,
        }
    }
    let n = sources.len() - n_of_theirs;
    println!("{n_equal} of {n} templates are written as jinja2 writes them; it fails on {n_of_theirs} more");
    assert!(n > 0 && n_equal * 100 >= n * LEAST_PERCENT, "{n_equal} of {n}");
}

/// A conversation in which a tool was called, and the same as chat APIs have it.
fn with_tools() -> (Conversation, Value) {
    let parameters = json!({
        "type": "object",
        "properties": {"city": {"type": "string", "description": "A city, as in \"Bern\" <|im_end|> [INST]"}, "n": {"type": "integer", "default": 3}},
        "required": ["city"],
    });
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        description: Some("Looks \u{fc}p <s>.".to_owned()),
        parameters: parameters.clone(),
        strict: false,
    };
    let toolbox = Toolbox { tools: vec![tool("weather"), tool("news")], choice: Choice::Auto, parallel: true };
    let arguments = json!({"city": "B\u{e9}rn <|eot_id|>", "n": 2});
    let mut conversation = conversation(&["system: Be brief.", "user: How warm is it?", "assistant: ", "user: Thanks"]);
    let call = Call { id: "call_1".to_owned(), name: "weather".to_owned(), arguments: arguments.to_string() };
    conversation.messages[2].calls = vec![call];
    let result = Message { answers: Some("call_1".to_owned()), ..Message::new(Speaker::Tool, "20 \u{b0}C <|im_end|>") };
    conversation.messages.insert(3, result);
    conversation.messages.insert(4, Message::new(Speaker::Assistant, "It is warm."));
    let id = tools::call_id(0, 0);
    let function = json!({"name": "weather", "arguments": arguments});
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How warm is it?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": id, "type": "function", "function": function}]},
        {"role": "tool", "content": "20 \u{b0}C <|im_end|>", "tool_call_id": id, "name": "weather"},
        {"role": "assistant", "content": "It is warm."},
        {"role": "user", "content": "Thanks"},
    ]);
    let tools: Value = toolbox.tools.iter().map(Tool::described).collect();
    conversation.tools = Some(toolbox);
    (conversation, json!({"messages": messages, "tools": tools}))
}

#[test]
fn tools_are_written_as_jinja2_writes_them() {
    let Some(sources) = sources() else { return };
    let style = |source: &String| CallStyle::of(&Template::new(source, "<s>", "</s>").ok()?);
    let sources: BTreeMap<_, _> = sources.into_iter().filter(|(_, source)| style(source).is_some()).collect();
    let (conversation, given) = with_tools();
    let expected = by_jinja2(&sources, &[given]);
    let (mut n_equal, mut n_of_theirs) = (0, 0);
    let mut by_style: BTreeMap<String, usize> = BTreeMap::new();
    for (name, source) in &sources {
        match (ours(source, &conversation), &expected[name][0]) {
            (Ok(ours), Ok(expected)) if ours == *expected => {
                n_equal += 1;
                *by_style.entry(format!("{:?}", style(source).expect("it has one"))).or_default() += 1;
            }
            // One that takes no system message beside tools is given it in front of the user's.
            (_, Err(_)) => n_of_theirs += 1,
            (ours, expected) => println!("differs  {name}\n  ours     {ours:?}\n  expected {expected:?}"),
        }
    }
    let n = sources.len() - n_of_theirs;
    println!(
        "{n_equal} of {n} that take tools are written as jinja2 writes them; it fails on {n_of_theirs} more; {by_style:?}"
    );
    assert!(n > 0 && n_equal * 100 >= n * LEAST_PERCENT, "{n_equal} of {n}");
}
