//! The licences of what is linked into the program: `LICENSE-THIRD-PARTY.md` names every crate in its version.
//!
//! `make notices` writes the file, from the packages that cargo has on this machine. Whoever changes `Cargo.lock` and
//! forgets it learns so here. Which crates there are depends on the system; the file is about Linux on x86-64.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const FILE: &str = "LICENSE-THIRD-PARTY.md";
const HEAD: &str = "# Licences of what proxytune is made of

proxytune itself is under MIT or Apache-2.0, as you like. A compiled program contains the works below, each under its own
licence; the texts follow in the second part. Where a work leaves the choice between licences, MIT was chosen. The source
of each is at the address that is given. Rust's standard library is part of the program too: MIT or Apache-2.0, the Rust
Project's contributors, https://github.com/rust-lang/rust.

`make notices` writes this file.
";
const MIT: &str = include_str!("../../LICENSE-MIT");

/// Something that is linked in, with the texts of its licence.
struct Work {
    /// Name and version.
    title: String,
    licence: String,
    address: String,
    texts: Vec<String>,
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The packages whose code is in the program or the plugin: neither what builds them nor what tests them.
fn packages(metadata: &Value) -> Vec<&Value> {
    let packages: BTreeMap<_, _> = list(&metadata["packages"]).iter().map(|it| (text(&it["id"]), it)).collect();
    let nodes: BTreeMap<_, _> = list(&metadata["resolve"]["nodes"]).iter().map(|it| (text(&it["id"]), it)).collect();
    let ours: Vec<_> = list(&metadata["workspace_members"]).iter().map(text).collect();
    let runs_at_build = |id: &str| {
        let kinds = list(&packages[id]["targets"]).iter().flat_map(|target| list(&target["kind"]));
        kinds.into_iter().any(|kind| text(kind) == "proc-macro")
    };
    let (mut found, mut todo) = (BTreeSet::new(), ours.clone());
    while let Some(id) = todo.pop() {
        if !runs_at_build(id) && found.insert(id) {
            let is_linked = |it: &&Value| list(&it["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            todo.extend(list(&nodes[id]["deps"]).iter().filter(is_linked).map(|it| text(&it["pkg"])));
        }
    }
    found.into_iter().filter(|id| !ours.contains(id)).map(|id| packages[id]).collect()
}

fn title(package: &Value) -> String {
    format!("{} {}", text(&package["name"]), text(&package["version"]))
}

fn folder(package: &Value) -> PathBuf {
    Path::new(text(&package["manifest_path"])).parent().expect("a folder").to_path_buf()
}

fn work(package: &Value) -> Work {
    let licence = text(&package["license"]).replace('/', " OR ");
    let named = |name: &str, starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(package))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
            path.is_file() && named(&name, &["LICENSE", "LICENCE", "COPYING", "UNLICENSE", "NOTICE", "COPYRIGHT"])
        })
        .collect();
    files.sort();
    let is_mit = |path: &PathBuf| path.to_string_lossy().contains("LICENSE-MIT");
    let is_extra = |path: &PathBuf| path.to_string_lossy().contains("THIRD-PARTY");
    if licence.contains(" OR ") && files.iter().any(is_mit) {
        files.retain(|path| is_mit(path) || is_extra(path));
    }
    let mut texts: Vec<_> = files.iter().map(|path| std::fs::read_to_string(path).expect("UTF-8")).collect();
    if texts.is_empty() {
        assert!(licence.contains("MIT"), "{} has no text of its licence {licence}", title(package));
        texts.push(mit(&format!("Copyright (c) the authors of {}", text(&package["name"]))));
    }
    let address = format!("https://crates.io/crates/{}/{}", text(&package["name"]), text(&package["version"]));
    Work { title: title(package), licence, address, texts }
}

/// The text of the MIT licence with another copyright.
fn mit(copyright: &str) -> String {
    let (_, permission) = MIT.split_once("\n\n").and_then(|(_, rest)| rest.split_once("\n\n")).expect("a text");
    format!("MIT License\n\n{copyright}\n\n{permission}")
}

/// What llama.cpp's sources hold of others.
fn of_llama_cpp(sources: &Path) -> Vec<Work> {
    let read = |path: &str| std::fs::read_to_string(sources.join(path)).expect(path);
    // The comment that a file begins with.
    let head = |path: &str| {
        let text = read(path);
        let lines = text.lines().map_while(|line| line.strip_prefix("//")).map(str::trim);
        lines.collect::<Vec<_>>().join("\n")
    };
    let line = |path: &str, start: &str| {
        let text = read(path);
        let line = text.lines().find_map(|line| line.trim().strip_prefix("// ")?.strip_prefix(start));
        line.unwrap_or_else(|| panic!("{path} says {start}")).trim().to_owned()
    };
    let work = |title: &str, licence: &str, address: &str, text: String| Work {
        title: title.to_owned(),
        licence: licence.to_owned(),
        address: address.to_owned(),
        texts: vec![text],
    };
    let yarn = line("ggml/src/ggml-cpu/ops.cpp", "MIT licensed.");
    let json = line("vendor/nlohmann/json.hpp", "SPDX-FileCopyrightText:");
    vec![
        work("llama.cpp and ggml", "MIT", "https://github.com/ggml-org/llama.cpp", read("LICENSE")),
        work(
            "llamafile's matrix multiplication, in ggml",
            "MIT",
            "https://github.com/mozilla-ai/llamafile",
            head("ggml/src/ggml-cpu/llamafile/sgemm.cpp"),
        ),
        work("YaRN, in ggml", "MIT", "https://github.com/jquesnelle/yarn", mit(&yarn)),
        work(
            "JSON for Modern C++, in llama.cpp",
            "MIT",
            "https://github.com/nlohmann/json",
            mit(&format!("Copyright (c) {json}")),
        ),
        work(
            "cpp-httplib, in llama.cpp",
            "MIT",
            "https://github.com/yhirose/cpp-httplib",
            read("vendor/cpp-httplib/LICENSE"),
        ),
        work(
            "xxHash, in llama.cpp",
            "BSD-2-Clause",
            "https://github.com/Cyan4973/xxHash",
            read("vendor/hash/xxhash/LICENSE"),
        ),
        work(
            "rotate-bits, in llama.cpp",
            "MIT",
            "https://github.com/jb55/rotate-bits.h",
            read("vendor/hash/rotate-bits/LICENSE.md"),
        ),
    ]
}

fn write() -> String {
    let metadata = metadata();
    let packages = packages(&metadata);
    let sys = packages.iter().find(|it| text(&it["name"]) == "llama-cpp-sys-2").expect("llama.cpp");
    let works: Vec<Work> = of_llama_cpp(&folder(sys).join("llama.cpp"))
        .into_iter()
        .chain(packages.iter().map(|package| work(package)))
        .collect();
    let mut out = format!("{HEAD}\n## Works\n\n");
    let mut texts: Vec<(String, Vec<&str>)> = Vec::new();
    for work in &works {
        writeln!(out, "- [{}]({}), {}", work.title, work.address, work.licence).expect("a string takes text");
        for text in &work.texts {
            let text: String = text.trim().lines().map(|line| line.trim_end().to_owned() + "\n").collect();
            match texts.iter_mut().find(|(known, _)| *known == text) {
                Some((_, titles)) => titles.push(&work.title),
                None => texts.push((text, vec![&work.title])),
            }
        }
    }
    out += "\n## Texts\n";
    for (text, titles) in texts {
        write!(out, "\n### {}\n\n```text\n{text}```\n", titles.join(", ")).expect("a string takes text");
    }
    out
}

#[test]
fn the_licences_of_all_that_is_linked_are_told() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("PROXYTUNE_WRITE_NOTICES").is_some() {
        std::fs::write(&path, write()).expect("writable");
    }
    let told = std::fs::read_to_string(&path).expect(FILE);
    let told: BTreeSet<_> = told.lines().filter_map(|line| line.strip_prefix("- [")?.split_once("](")).collect();
    let told: BTreeSet<_> = told.into_iter().filter(|(_, rest)| rest.contains("//crates.io/")).map(|it| it.0).collect();
    let metadata = metadata();
    let linked: BTreeSet<_> = packages(&metadata).into_iter().map(title).collect();
    let linked: BTreeSet<_> = linked.iter().map(String::as_str).collect();
    let (missing, extra): (Vec<_>, Vec<_>) = (linked.difference(&told).collect(), told.difference(&linked).collect());
    assert!(
        missing.is_empty() && extra.is_empty(),
        "run `make notices`: missing {missing:?}, no longer there {extra:?}"
    );
}
