//! `proxytune chat` at a terminal of its own, and with lines piped in.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::command_line::refused;

/// Nothing that is waited for takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program at a pseudo-terminal.
pub struct Terminal {
    child: std::process::Child,
    pty: pty_process::blocking::Pty,
    output: Receiver<Vec<u8>>,
    /// What has been shown and not been waited for.
    shown: String,
}

impl Terminal {
    pub fn run(args: &[&str], home: &std::path::Path) -> Self {
        let (pty, pts) = pty_process::blocking::open().expect("a pseudo-terminal");
        pty.resize(pty_process::Size::new(40, 120)).expect("a size");
        let command = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_proxytune")).args(args);
        let command = command.env("XDG_STATE_HOME", home).env("TERM", "xterm").env_remove("PROXYTUNE_MODELS");
        let child = command.spawn(pts).expect("it starts");
        let (send, output) = channel();
        let mut reader = std::fs::File::from(std::os::fd::AsFd::as_fd(&pty).try_clone_to_owned().expect("a handle"));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // At its end a terminal is an error.
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                if send.send(bytes[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, pty, output, shown: String::new() }
    }

    /// Waits until a text is shown; what was shown until then.
    pub fn until(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            if let Some(at) = self.shown.find(text) {
                let rest = self.shown.split_off(at + text.len());
                return std::mem::replace(&mut self.shown, rest);
            }
            match self.output.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
                Ok(bytes) => self.shown += &String::from_utf8_lossy(&bytes),
                Err(error) => panic!("{text:?} was not shown ({error}), but: {}", self.shown),
            }
        }
    }

    /// Types a line and waits for the next prompt; what was shown between.
    fn say(&mut self, line: &str) -> String {
        self.type_in(&format!("{line}\r"));
        self.until(line);
        self.until("> ")
    }

    fn type_in(&mut self, text: &str) {
        self.pty.write_all(text.as_bytes()).expect("it reads");
    }

    /// How the program ended.
    pub fn end(mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::yield_now();
        }
    }
}

#[test]
fn two_turns_alpha_why_ctrl_c_and_exit() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let args = ["chat", "-t", "1", "--temp", "0", "-n", "12", "-c", "512"];
    let mut terminal = Terminal::run(&args, home.path());
    let said = terminal.until("> ");
    assert!(said.contains("expert: expert.gguf, plain text") && said.contains("α = 0.75"), "{said}");
    let first = terminal.say("One morning the boy went to the river and");
    assert!(first.contains(" saw"), "{first}");
    let why = terminal.say("/why");
    assert!(why.contains("of 12 positions") && why.contains("base's top"), "{why}");
    assert!(terminal.say("/alpha 0").contains("α = 0"));
    let second = terminal.say("The next day the boy");
    assert!(second.trim().len() > 20, "{second}");
    assert!(terminal.say("/why").contains("at none of 12 positions"), "α is 0");
    assert!(terminal.say("/wy").contains("did you mean /why?"));
    // What is typed in one go is read line by line.
    terminal.type_in("/alpha 0.25\r/alpha\rThe dog\r/undo\r");
    terminal.until("α = 0.25");
    terminal.until("α = 0.25");
    terminal.until("taken back: The dog");
    terminal.until("> ");
    // A line that goes on.
    terminal.type_in("One line and\\\r");
    terminal.type_in("another\r");
    terminal.until("another");
    terminal.until("> ");
    assert!(terminal.say("/undo").contains("taken back: One line and…"));
    // At the prompt ctrl-C leaves nothing, and says how to leave.
    terminal.type_in("half a line\x03");
    terminal.until("ctrl-D or /exit leaves");
    terminal.until("> ");
    terminal.type_in("/exit\r");
    assert_eq!(terminal.end(), Some(0));
    let history = std::fs::read_to_string(home.path().join("proxytune/chat-history")).expect("it is kept");
    assert!(history.contains("The next day the boy"), "{history}");
}

#[test]
fn ctrl_c_stops_the_answer_and_not_the_program() {
    let home = tempfile::tempdir().expect("a temporary folder");
    // Some ten seconds of text.
    let args = ["chat", "-t", "1", "--temp", "0.8", "-s", "1", "-c", "8192", "--ignore-eos"];
    let mut terminal = Terminal::run(&args, home.path());
    terminal.until("> ");
    terminal.type_in("The boy ran and\r");
    terminal.until("The boy ran and");
    // Once it writes.
    terminal.until("the");
    terminal.type_in("\x03");
    terminal.until("> ");
    // What was written is the answer.
    let file = home.path().join("talk.json");
    assert!(terminal.say(&format!("/save {}", file.display())).contains("2 messages written"));
    let saved: Value = serde_json::from_slice(&std::fs::read(&file).expect("readable")).expect("JSON");
    let n_tokens = saved["messages"][1]["tokens"].as_array().expect("tokens").len();
    assert!((1..8000).contains(&n_tokens), "{n_tokens}");
    terminal.type_in("\x04");
    assert_eq!(terminal.end(), Some(0));
}

/// Runs a chat on lines; stdout, stderr.
fn chat(args: &[&str], lines: &str) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
    command.args([&["chat", "-t", "1", "-c", "512"], args].concat()).env_remove("PROXYTUNE_MODELS");
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{err}");
    (out, err)
}

#[test]
fn piped_lines_are_answered_and_only_the_answers_are_data() {
    let (out, err) = chat(&["--temp", "0", "-n", "6"], "The boy went\n/alpha\n/system\n/nonsense\n/load /no/such\n");
    assert_eq!(out.lines().rfind(|line| !line.is_empty()), Some("α = 0.75"));
    let (broken, said) = chat(&["--temp", "0", "-n", "6"], "One line and\\\nanother\\");
    let (whole, _) = chat(&["--temp", "0", "-n", "6"], "x\n/undo\nOne line and\\\nanother\\\n");
    assert!(!broken.trim().is_empty() && whole.ends_with(&broken), "{broken} {whole} {said}");
    for words in ["there is no system prompt", "there is no command /nonsense", "cannot read /no/such"] {
        assert!(err.contains(words), "{words}: {err}");
    }
}

#[test]
fn a_saved_conversation_goes_on_as_if_it_had_not_ended() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("talk.json");
    let path = path.to_str().expect("UTF-8");
    let args = ["--temp", "0", "-n", "10"];
    let (whole, _) = chat(&args, "The boy went\nThen he\n");
    let (first, _) = chat(&args, &format!("The boy went\n/save {path}\n"));
    let (second, said) = chat(&[&args[..], &["--load", path]].concat(), "Then he\n");
    assert_eq!(whole, format!("{first}{second}"));
    assert!(!said.contains("read as text"), "{said}");
    // An answer of another vocabulary is read as text.
    let mut saved: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("readable")).expect("JSON");
    saved["messages"][1]["tokens"][0] = 4_000_000.into();
    std::fs::write(path, saved.to_string()).expect("writable");
    let (_, said) = chat(&[&args[..], &["--load", path]].concat(), "Then he\n");
    assert!(said.contains("it is read as text"), "{said}");
    // Only conversations are written over.
    let model = folder.path().join("model.gguf");
    std::fs::write(&model, "precious").expect("writable");
    let lines = format!("/save {path}\nThe boy went\n/save {}\n/save {path}\n", model.display());
    let (_, said) = chat(&args, &lines);
    assert!(said.contains("there is nothing to save yet") && said.contains("is no saved conversation"), "{said}");
    assert!(said.contains("2 messages written"), "{said}");
    assert_eq!(std::fs::read_to_string(&model).expect("readable"), "precious");
    // What was typed beside it counts.
    let (asked, _) = chat(&[&args[..], &["--load", path, "-sys", "Be brief."]].concat(), "/system\n");
    assert_eq!(asked.trim(), "Be brief.");
    for nonsense in ["", "{}", "{\"proxytune_chat\": 9, \"messages\": []}", "[1]"] {
        std::fs::write(path, nonsense).expect("writable");
        let (_, said) = chat(&args, &format!("/load {path}\n"));
        assert!(said.contains("error: "), "{nonsense}: {said}");
    }
}

#[test]
fn a_full_context_is_told_and_nothing_is_lost() {
    let long = "word ".repeat(400);
    let (out, err) =
        chat(&["--temp", "0", "-n", "4"], &format!("The boy went\n{long}\n{long}\n/undo\n/undo\nThe boy went\n"));
    assert!(err.contains("leaves no room") && err.contains("hint: a shorter message may fit"), "{err}");
    let answers: Vec<_> = out.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(answers.first(), answers.last(), "the same message has the same answer: {out}");
}

/// A grammar that wants what a bias forbids: the answer begins, and then fails.
#[test]
fn an_answer_that_fails_midway_ends_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("talk.json");
    let path = path.to_str().expect("UTF-8");
    // Nothing else is lost to it either.
    let neighbour = folder.path().join("talk.part");
    std::fs::write(&neighbour, "mine").expect("writable");
    let model = proxytune::llama::model::Model::load(
        &crate::trio::backend(),
        &crate::trio::file("base"),
        &proxytune::llama::model::ModelParams::default(),
        |_| true,
    );
    let dollar = model.expect("it loads").tokenize("$").expect("tokens")[1];
    let bias = format!("{dollar}-inf");
    let args = ["--temp", "0", "-n", "9", "--grammar", "root ::= \" saw \" \"$\"", "-l", &bias];
    let lines = format!("The boy went\nThen he\n/regen\n/save {path}\n/undo\n/save {path}2\n");
    let (out, err) = chat(&args, &lines);
    assert_eq!(err.matches("no token is left to choose").count(), 3, "{err}");
    assert_eq!(out.matches(" saw").count(), 3, "{out}");
    let roles = |path: &str| {
        let saved: Value = serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
        let messages = saved["messages"].as_array().expect("messages").clone();
        messages.iter().map(|message| message["role"].as_str().expect("a role").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(roles(path), ["user", "assistant", "user", "assistant"]);
    assert_eq!(roles(&format!("{path}2")), ["user", "assistant"]);
    assert_eq!(std::fs::read_to_string(neighbour).expect("readable"), "mine");
}

#[test]
fn regenerating_draws_anew_and_comparing_does_not_disturb() {
    let (out, _) = chat(&["-s", "5", "-n", "12"], "The boy went\n/regen\n/compare\nThen he\n");
    let (again, _) = chat(&["-s", "5", "-n", "12"], "The boy went\n/regen\nThen he\n");
    let answers = |out: &str| out.split("\n\n").map(str::to_owned).collect::<Vec<_>>();
    let (out, again) = (answers(&out), answers(&again));
    assert_ne!(out[0], out[1], "other random numbers");
    assert_ne!(out[2], out[1], "the base alone");
    assert_eq!((&out[..2], &out[3]), (&again[..2], &again[2]));
}

#[test]
fn a_long_prompt_shows_how_far_it_is_read() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let text = home.path().join("long.txt");
    std::fs::write(&text, "The boy went to the river. ".repeat(60)).expect("writable");
    let text = text.to_str().expect("UTF-8");
    let args = ["generate", "-t", "1", "--temp", "0", "-n", "4", "-b", "64", "-s", "3", "-f", text];
    let mut terminal = Terminal::run(&args, home.path());
    let before = terminal.until("reading the prompt");
    assert!(!before.contains("perf: "), "{before}");
    let after = terminal.until("seed 3");
    assert!(after.contains("tokens, ") && after.contains("perf: prompt "), "{after}");
    assert_eq!(terminal.end(), Some(0));
    // A short one is read before anybody could look, and a file is no place for a bar.
    let mut short = Terminal::run(&["generate", "-t", "1", "-n", "2", "-p", "The boy", "-s", "3"], home.path());
    assert!(!short.until("seed 3").contains("reading"));
    assert_eq!(short.end(), Some(0));
    let mut piped = Command::new(env!("CARGO_BIN_EXE_proxytune"));
    let output = piped.args(args).output().expect("it starts");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("reading"), "{output:?}");
}

#[test]
fn every_answer_tells_its_speed_unless_it_is_not_wanted() {
    let (_, err) = chat(&["--temp", "0", "-n", "3"], "The boy went\nThen he\n");
    assert_eq!(err.matches("perf: prompt ").count(), 2, "{err}");
    let (_, err) = chat(&["--temp", "0", "-n", "3", "--no-perf", "--conversation"], "The boy went\n");
    assert!(!err.contains("perf: "), "{err}");
}

#[test]
fn what_cannot_be_saved_is_told_by_its_own_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("no such folder/talk.json");
    let (_, err) = chat(&["--temp", "0", "-n", "3"], &format!("The boy went\n/save {}\n", path.display()));
    let line = err.lines().find(|line| line.contains("cannot write")).expect("an error");
    assert_eq!(line, format!("error: cannot write {}: No such file or directory (os error 2)", path.display()));
}

#[test]
fn calls_are_shown_and_what_they_came_to_is_typed_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, saved) = (folder.path().join("tools.json"), folder.path().join("talk.json"));
    let tool = json!({"type": "function", "function": {
        "name": "count_animals", "description": "Counts animals.",
        "parameters": {"type": "object", "properties": {"animal": {"enum": ["dog", "cat"]}}, "required": ["animal"]},
    }});
    std::fs::write(&file, json!([tool]).to_string()).expect("writable");
    let file = file.to_str().expect("UTF-8");
    let args =
        ["--temp", "0", "-n", "80", "--tools-file", file, "--tool-choice", "required", "--no-parallel-tool-calls"];
    let lines = format!("How many dogs are there?\n/save {}\nThree.\n/undo\n", saved.display());
    let (out, err) = chat(&args, &lines);
    let calls: Vec<_> = out.lines().filter(|line| !line.is_empty()).collect();
    assert!(calls.len() == 2 && calls.iter().all(|call| call.starts_with("count_animals({\"animal\": \"")), "{out}");
    assert!(err.contains("tools: count_animals") && err.contains("what did count_animals come to?"), "{err}");
    assert!(err.contains("taken back: How many dogs are there?"), "{err}");
    let talk: Value = serde_json::from_slice(&std::fs::read(&saved).expect("readable")).expect("JSON");
    assert_eq!(talk["messages"][1]["tool_calls"][0]["name"], "count_animals", "{talk}");
    std::fs::write(file, "[{\"name\": 1}]").expect("writable");
    let said = refused(&["chat", "--tools-file", file], 1);
    assert!(
        said.contains("offers no tools: tools[0]")
            && said.contains("expected a list of")
            && !said.contains("is expected"),
        "{said}"
    );
}
