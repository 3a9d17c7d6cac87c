//! What the program prints when files, paths and arguments hold control characters.

use std::io::Read;
use std::path::Path;

use crate::trio::file;

/// Magenta and a bell: the program itself uses neither.
const HOSTILE: &str = "\u{1b}[35mred\u{7}";

/// Everything that a command shows on a terminal.
fn at_a_terminal(args: &[&str], models: Option<&Path>) -> String {
    let (mut pty, pts) = pty_process::blocking::open().expect("a pseudo-terminal");
    pty.resize(pty_process::Size::new(40, 200)).expect("a size");
    let command = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_proxytune")).args(args);
    let command = match models {
        Some(folder) => command.env("PROXYTUNE_MODELS", folder),
        None => command.env_remove("PROXYTUNE_MODELS"),
    };
    let mut child = command.env("TERM", "xterm").spawn(pts).expect("it starts");
    let mut shown = Vec::new();
    let mut block = [0; 4096];
    // At its end a terminal is an error.
    while let Ok(n @ 1..) = pty.read(&mut block) {
        shown.extend_from_slice(&block[..n]);
    }
    child.wait().expect("it ends");
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn nothing_out_of_a_file_or_an_argument_reaches_a_terminal_raw() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bundle = folder.path().join("bundle");
    std::fs::create_dir(&bundle).expect("writable");
    let spelled = HOSTILE.replace('\u{1b}', "\\u001b").replace('\u{7}', "\\u0007");
    let base = file("base").display().to_string();
    let name = format!("{HOSTILE}.toml");
    let recipe = |file: &str, model: &str| {
        let path = bundle.join(file);
        let text = format!(
            "description = \"{spelled}\"\nexample_prompt = \"{spelled}\"\nbase = \"{model}\"\n\
             [[pair]]\nexpert = \"{model}\"\n"
        );
        std::fs::write(&path, text).expect("writable");
        path.display().to_string()
    };
    let (whole, lacking) = (recipe(&name, &base), recipe("lacking.toml", &format!("{spelled}.gguf")));
    let missing = format!("/no/{HOSTILE}.gguf");
    for args in [
        &["recipe", "list"][..],
        &["recipe", "show", &whole],
        &["recipe", "validate", &whole],
        &["recipe", "validate", &lacking],
        &["recipe", "show", &missing],
        &["generate", "-R", &whole, "-n", "1", "-t", "1", "-c", "64"],
        &["generate", "-R", &whole, "-n", "1", "-t", "1", "-c", "64", "--display-prompt", "--response-prefix", HOSTILE],
        &["generate", "-R", &lacking, "-n", "1", "-t", "1"],
        &["inspect", "-R", &whole, "-n", "2", "-t", "1", "-c", "64", "--response-prefix", HOSTILE],
        &["inspect", "-R", &whole, "--text", HOSTILE, "-t", "1", "-c", "64"],
        &["generate", "-p", "x", "-m", &missing, "-me", "base", "-ma", "none"],
        &["generate", "-p", "x", "--expert-template", &missing],
        &["generate", "-f", &missing],
        &["generate", "-p", "x", "-n", "1", "--grammar", HOSTILE],
        &["generate", "-p", "x", "-n", "1", "-j", &format!("{{\"pattern\": \"^{HOSTILE}$\"}}")],
        &["generate", "-p", "x", "--temp", HOSTILE],
        &["check", "-m", &missing, "-me", "base", "-ma", "none"],
    ] {
        let shown = at_a_terminal(args, Some(folder.path()));
        assert!(!shown.is_empty(), "{args:?}");
        assert!(!shown.contains("\u{1b}[35m") && !shown.contains('\u{7}'), "{args:?}: {shown:?}");
    }
}

#[test]
fn stderr_has_one_way_out() {
    fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
    }
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli")) {
        let text = std::fs::read_to_string(&path).expect("source");
        let is_plain = path.ends_with("terminal.rs") || !text.contains("eprintln!");
        assert!(is_plain, "{} uses `eprintln!`, expected `say!`, which spells control characters", path.display());
    }
}
