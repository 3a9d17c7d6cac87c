//! Arrows run down: between the rooms (the top-level modules of `src`), and between the files of a room.
//!
//! A file has an arrow to the file that **defines** a name which it uses, by `use` or by a path in code, in an
//! attribute or in the arguments of a macro. Re-exports are followed, so `mod.rs` of a room is nobody's goal unless it
//! defines the name itself. What is no arrow:
//! - `mod x;`, and naming a module without anything in it;
//! - a `pub use` of what lies beneath the module: it hands the name on. When the module's own code uses the name, that
//!   is an arrow;
//! - anything under `#[cfg(test)]`;
//! - a method or field that is reached through a value, since no path names its file.
//!
//! A circle is two files or more from each of which arrows lead to the others. Names go into the file that they belong
//! to until there is none.

mod circles;
mod house;
mod snippets;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use circles::circles;
use house::{Arrow, End, House};

/// From the front door down; a room may use those behind it, never those before it. Rooms of one line do not know
/// one another.
const ORDER: [&[&str]; 12] = [
    &["main"],
    &["cli"],
    &["server", "eval", "inspect", "bench"],
    &["engine"],
    &["generate"],
    &["steer"],
    &["llama", "remote"],
    &["constraint"],
    &["prompt", "vocab", "recipe"],
    &["sampling"],
    &["gguf", "parameter"],
    &["arithmetic", "contained", "plain", "remembered", "text_file"],
];
/// Stands beside the others: `cli` alone uses it, and of them it uses what reads text files and what tells files apart.
const HUB: &str = "hub";

const LIBRARY: &str = "proxytune";
const PLUGIN: &str = "proxytune_sampler";
/// What a plugin needs of the library: lanes that steer a host's base, the stage, and a probe of the files.
const ROOMS_OF_THE_PLUGIN: [&str; 8] =
    ["arithmetic", "parameter", "sampling", "recipe", "vocab", "llama", "steer", "inspect"];

fn rank(room: &str) -> usize {
    let rank = ORDER.iter().position(|rooms| rooms.contains(&room));
    rank.unwrap_or_else(|| panic!("the order does not know the room {room}"))
}

fn may_use(from: &str, to: &str) -> bool {
    match (from, to) {
        (from, to) if from == to => true,
        (from, HUB) => from == "cli",
        (HUB, to) => ["remembered", "text_file"].contains(&to),
        (from, to) => rank(from) < rank(to),
    }
}

/// The crate's name where it is not a room's.
fn room(end: &End) -> &str {
    end.module.get(1).unwrap_or(&end.module[0])
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Library, program and plugin.
fn house() -> House {
    let open = |file: &str| fs::read_to_string(root().join(file)).ok();
    let mut house = House::default();
    house.read(LIBRARY, "src/lib.rs", &open);
    house.read("main", "src/main.rs", &open);
    house.read(PLUGIN, "plugins/llama-sampler/src/lib.rs", &open);
    house
}

fn refuse<'a>(arrows: impl Iterator<Item = &'a Arrow>, why: &str) {
    let lines: Vec<_> = arrows
        .map(|Arrow { from, to, line, path }| format!("{}:{line} names {path} of {}", from.file, to.file))
        .collect();
    assert!(lines.is_empty(), "{why}:\n  {}", lines.join("\n  "));
}

#[test]
fn arrows_between_rooms_run_down() {
    let arrows = house().arrows();
    let is_ours = |arrow: &&Arrow| arrow.from.module[0] != PLUGIN;
    let (ours, plugins): (Vec<_>, Vec<_>) = arrows.iter().partition(is_ours);
    refuse(ours.into_iter().filter(|arrow| !may_use(room(&arrow.from), room(&arrow.to))), "arrows run back up");
    let reaches_in = |arrow: &&Arrow| arrow.to.module[0] != PLUGIN && !ROOMS_OF_THE_PLUGIN.contains(&room(&arrow.to));
    refuse(plugins.into_iter().filter(reaches_in), "the plugin uses rooms that it can do without");
}

#[test]
fn files_stand_in_no_circle() {
    let circles = circles(&house().arrows());
    assert!(circles.is_empty(), "{} circles\n{}", circles.len(), circles.join("\n"));
}

#[test]
fn the_reader_sees_the_whole_house() {
    let house = house();
    let arrows = house.arrows();
    let count = |what: &dyn Fn(&Arrow) -> bool| arrows.iter().filter(|arrow| what(arrow)).count();
    let crosses = |arrow: &Arrow| room(&arrow.from) != room(&arrow.to);
    let from_plugin = |arrow: &Arrow| arrow.from.module[0] == PLUGIN;
    let counts = (house.files().len(), count(&|arrow| !crosses(arrow)), count(&crosses), count(&from_plugin));
    let (n_files, n_inside, n_between, n_from_plugin) = counts;
    assert!(n_files > 120 && n_inside > 250 && n_between > 250 && n_from_plugin > 30, "{counts:?}");
}

#[test]
fn pure_rooms_do_not_name_llama_cpp() {
    for room in ["arithmetic", "plain", "text_file", "gguf", "vocab", "recipe", "sampling", "prompt", HUB] {
        for path in sources(&root().join("src").join(room)) {
            let text = fs::read_to_string(&path).expect("source");
            assert!(!text.contains("llama_cpp_2") && !text.contains("llama_cpp_sys"), "{}", path.display());
        }
    }
}

/// All files of a folder; none where the room is not there.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
