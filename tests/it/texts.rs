//! Texts that people give, through the program: files from other editors, files that are none, files without an end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::command_line::{json, proxytune, refused, run, stderr, stdout};
use crate::trio::file;

/// A folder with texts in it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), text).expect("writable");
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// A pipe that nobody writes into: whoever opens it waits for ever.
    fn pipe(&self, name: &str) -> String {
        let path = self.path(name);
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        path.to_str().expect("UTF-8").to_owned()
    }
}

/// A text as it is, and as an editor of Windows and one of an old Mac write it.
fn spellings(text: &str) -> [String; 3] {
    [text.to_owned(), format!("\u{feff}{}", text.replace('\n', "\r\n")), text.replace('\n', "\r")]
}

/// Runs with a text piped in.
fn piped(args: &[&str], text: &[u8]) -> Output {
    let mut child =
        proxytune(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(text).expect("it reads");
    child.wait_with_output().expect("it ends")
}

const JSON: [&str; 7] = ["--json", "-n", "3", "--temp", "0", "-c", "256"];

#[test]
fn a_prompt_is_the_same_from_every_editor() {
    let desk = Desk::new();
    let ask = |args: &[&str]| {
        let answer = json(&[&["generate"], args, &JSON].concat());
        (answer["text"].clone(), answer["prompt_tokens"].clone(), answer["prompts"].clone())
    };
    let expected = ask(&["-p", "Once\n\nupon a time"]);
    for text in spellings("Once\n\nupon a time\n") {
        let path = desk.write("prompt.txt", &text);
        assert_eq!(ask(&["-f", &path]), expected, "{text:?}");
        for args in [&["generate"][..], &["generate", "-f", "-"], &["generate", "-f", "/dev/stdin"]] {
            let output = piped(&[args, &JSON].concat(), text.as_bytes());
            let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!(answer["text"], expected.0, "{args:?} {text:?}");
        }
    }
}

#[test]
fn system_prompts_templates_grammars_and_schemas_are_too() {
    let desk = Desk::new();
    let ask = |flags: [&str; 2]| {
        let output = run(&[&["generate", "-p", "Once"], &flags[..], &["--expert-template", "plain"], &JSON].concat());
        assert!(output.status.success(), "{flags:?}: {}", stderr(&output));
        // Timings differ from run to run.
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (answer["text"].clone(), answer["prompts"].clone())
    };
    for (flag, text) in [
        ("-sysf", "You are\na poet.\n"),
        ("--base-template", "{% for m in messages %}\n{{ m.content }}\n\n{% endfor %}"),
        ("--grammar-file", "# one of two\nroot ::= \" a\" |\n  \" b\"\n"),
        ("-jf", "{\n\"enum\": [\n1, 2]}\n"),
    ] {
        let answers: Vec<_> = spellings(text).iter().map(|text| ask([flag, &desk.write("given", text)])).collect();
        assert_eq!(answers[0], answers[1], "{flag}");
        assert_eq!(answers[0], answers[2], "{flag}");
    }
}

#[test]
fn recipes_are_too() {
    let desk = Desk::new();
    let text = "base = 'b.gguf'\nexample_prompt = \"\"\"one\n two\"\"\"\n";
    let shown = spellings(text).map(|text| stdout(&run(&["recipe", "show", &desk.write("mine.toml", text)])));
    assert!(shown[0].contains("two"), "{}", shown[0]);
    assert_eq!((&shown[1], &shown[2]), (&shown[0], &shown[0]));
}

#[test]
fn utf_16_is_called_by_its_name() {
    let desk = Desk::new();
    let text: Vec<u8> = "base".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let path = desk.write("mine.toml", [b"\xff\xfe", text.as_slice()].concat());
    for args in [
        &["recipe", "show", &path][..],
        &["generate", "-f", &path],
        &["generate", "-p", "x", "-sysf", &path],
        &["generate", "-p", "x", "--grammar-file", &path],
        &["generate", "-p", "x", "-jf", &path],
        &["generate", "-p", "x", "--expert-template", &path],
        &["perplexity", "-f", &path],
        &["bench", "-f", &path],
        &["chat", "--load", &path],
    ] {
        let said = refused(args, 1);
        assert!(said.contains("UTF-16 (little-endian)") && said.contains("hint: save it as UTF-8"), "{args:?}: {said}");
    }
}

#[test]
fn what_is_too_long_is_not_cut() {
    let desk = Desk::new();
    let long = format!("{}base = 'b.gguf'\n", "# a comment\n".repeat(100_000));
    let recipe = desk.write("long.toml", &long);
    let template = desk.write("long.jinja", format!("{{# {long} #}}"));
    for args in [&["recipe", "show", &recipe][..], &["generate", "-p", "x", "--expert-template", &template]] {
        let said = refused(args, 1);
        assert!(said.contains("expected at most 1048576 bytes, got 12000"), "{said}");
    }
}

#[test]
fn pipes_folders_and_devices_are_no_recipes_templates_and_conversations() {
    let desk = Desk::new();
    let pipe = desk.pipe("pipe.toml");
    let folder = desk.path("").to_str().expect("UTF-8").to_owned();
    for (path, what) in [(&pipe, "is a pipe or device"), (&folder, "is a folder")] {
        for args in [
            &["recipe", "show", path][..],
            &["generate", "-p", "x", "-R", path],
            &["generate", "-p", "x", "--base-template", path],
            &["chat", "--load", path],
        ] {
            let said = refused(args, 1);
            assert!(said.contains(what) && said.contains("hint: "), "{args:?}: {said}");
        }
    }
    for args in [&["generate", "-f", &folder][..], &["generate", "-p", "x", "--grammar-file", &folder]] {
        assert!(refused(args, 1).contains("is a folder"), "{args:?}");
    }
    assert!(file("base").is_file() && Path::new(&pipe).exists());
}

#[test]
fn a_grammar_may_come_through_a_pipe() {
    let args = [&["generate", "-p", "Once", "--grammar-file", "/dev/stdin"], &JSON[..]].concat();
    let output = piped(&args, b"root ::= \" a\"\r\n");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["text"], " a", "{}", stderr(&output));
}
