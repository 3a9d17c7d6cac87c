//! Arrows between the rooms run one way.

use std::fs;
use std::path::{Path, PathBuf};

/// From the front door down; a room may use those behind it, never those before it. Rooms of one line do not know
/// one another.
const ORDER: [&[&str]; 10] = [
    &["main"],
    &["cli"],
    &["server", "eval", "inspect", "bench"],
    &["engine"],
    &["generate"],
    &["steer"],
    &["llama", "remote"],
    &["prompt", "vocab", "recipe", "hub"],
    &["sampling"],
    &["gguf", "parameter"],
];
/// Behind all others.
const LAST: &str = "arithmetic";

fn rank(room: &str) -> Option<usize> {
    if room == LAST { Some(ORDER.len()) } else { ORDER.iter().position(|rooms| rooms.contains(&room)) }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The rooms that a file names behind `crate::`, brace lists included.
fn rooms_used(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut rooms = Vec::new();
    for after in code.split("crate::").skip(1) {
        let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
        let first_word = |text: &str| text.trim_start().chars().take_while(|&c| is_word(c)).collect::<String>();
        match after.strip_prefix('{') {
            None => rooms.push(first_word(after)),
            Some(list) => {
                let (mut depth, mut word_starts) = (0, vec![0]);
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => word_starts.push(i + 1),
                        _ => {}
                    }
                }
                rooms.extend(word_starts.into_iter().map(|start| first_word(&list[start..])));
            }
        }
    }
    rooms.retain(|room| rank(room).is_some());
    rooms
}

#[test]
fn arrows_run_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut n_arrows = 0;
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).expect("inside src");
        let first = inside.components().next().expect("a name").as_os_str().to_string_lossy().replace(".rs", "");
        if first == "lib" {
            continue;
        }
        let from = rank(&first).unwrap_or_else(|| panic!("{first} is a room that the order does not know"));
        for to in rooms_used(&fs::read_to_string(&path).expect("source")) {
            let allowed = to == first || rank(&to).expect("a room") > from;
            assert!(allowed, "{} uses {to}, which stands before or beside it", inside.display());
            n_arrows += 1;
        }
    }
    assert!(n_arrows > 30, "only {n_arrows} arrows were seen: does the reader still work?");
}

#[test]
fn pure_rooms_do_not_name_llama_cpp() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for room in ["arithmetic", "gguf", "vocab", "recipe", "sampling", "prompt", "hub"] {
        for path in sources(&src.join(room)) {
            let text = fs::read_to_string(&path).expect("source");
            assert!(!text.contains("llama_cpp_2") && !text.contains("llama_cpp_sys"), "{}", path.display());
        }
    }
}

#[test]
fn the_reader_sees_lists_and_paths() {
    let text = "use crate::{gguf, llama::{self, Token}, steer};\nlet x = crate::recipe::Error;\n// crate::cli";
    assert_eq!(rooms_used(text), ["gguf", "llama", "steer", "recipe"]);
}
