//! Models of a hub through the program: `-hf`, recipes that name repositories, `pull`, `--offline`.

use std::path::Path;
use std::process::{Command, Output};

use crate::hub_server::{Fault, HubServer, REPO};
use crate::trio::{PROMPT, answer, demo, file, greedy};

/// A hub that has the bundled trio.
struct Scene {
    server: HubServer,
    home: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let bytes = |role: &str| std::fs::read(file(role)).expect("readable");
        let files = [
            ("trio-Q8_0.gguf", bytes("base")),
            ("expert.gguf", bytes("expert")),
            ("small/antiexpert.gguf", bytes("antiexpert")),
        ];
        Self { server: HubServer::start(&files), home: tempfile::tempdir().expect("a temporary folder") }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
        for name in
            ["LLAMA_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "MODEL_ENDPOINT"]
        {
            command.env_remove(name);
        }
        command
            .env("XDG_CACHE_HOME", self.home.path().join("cache"))
            .env("HF_HOME", self.home.path())
            .env("HF_ENDPOINT", &self.server.endpoint);
        command.args(args).stdin(std::process::Stdio::null()).output().expect("it starts")
    }

    fn recipe(&self, text: &str) -> String {
        let path = self.home.path().join("mine.toml");
        std::fs::write(&path, text).expect("writable");
        path.to_str().expect("UTF-8").to_owned()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The trio by its repository, in place of files.
const FLAGS: [&str; 10] = [
    "-hf",
    REPO,
    "--expert-hf",
    REPO,
    "--expert-hf-file",
    "expert.gguf",
    "--antiexpert-hf",
    REPO,
    "--antiexpert-hf-file",
    "small/antiexpert.gguf",
];

#[test]
fn roles_come_from_a_hub_and_are_downloaded_once() {
    let scene = Scene::new();
    let how = ["-p", PROMPT, "-n", "12", "--temp", "0", "-c", "256", "-t", "1"];
    let args = [&["generate"], &FLAGS[..], &how].concat();
    let first = scene.run(&args);
    assert!(first.status.success(), "{}", stderr(&first));
    assert_eq!(stdout(&first), format!("{}\n", answer(&demo(1.0), &greedy(12)).text));
    let on_cdn = || scene.server.requests().iter().filter(|request| request.on_cdn).count();
    assert_eq!(on_cdn(), 3);
    let again = scene.run(&args);
    assert_eq!((stdout(&again), on_cdn()), (stdout(&first), 3));
    let n_requests = scene.server.requests().len();
    let offline = scene.run(&[&args[..], &["--offline"]].concat());
    assert_eq!((stdout(&offline), scene.server.requests().len()), (stdout(&first), n_requests), "nobody is asked");
}

#[test]
fn pull_downloads_what_a_recipe_names() {
    let scene = Scene::new();
    let recipe = scene.recipe(&format!(
        "base = {{ hf = '{REPO}:Q8_0' }}\n[[pair]]\nexpert = {{ hf = '{REPO}', hf_file = 'expert.gguf' }}\n\
         antiexpert = {{ hf = '{REPO}', hf_file = 'small/antiexpert.gguf' }}\n"
    ));
    assert!(stdout(&scene.run(&["recipe", "validate", &recipe])).contains("3 models are the hub's"));
    let pulled = scene.run(&["pull", &recipe]);
    assert!(pulled.status.success(), "{}", stderr(&pulled));
    let paths: Vec<_> = stdout(&pulled).lines().map(str::to_owned).collect();
    assert!(paths.len() == 3 && paths.iter().all(|path| Path::new(path).is_file()), "{paths:?}");
    for (path, role) in paths.iter().zip(["base", "expert", "antiexpert"]) {
        assert_eq!(std::fs::read(path).expect("readable"), std::fs::read(file(role)).expect("readable"));
    }
    let one = scene.run(&["pull", REPO]);
    assert_eq!(stdout(&one).trim_end(), paths[0]);
    let checked = scene.run(&["check", "-R", &recipe, "--offline"]);
    assert!(stdout(&checked).contains("This can run"), "{}", stderr(&checked));
}

#[test]
fn what_a_hub_does_not_have_or_does_wrong_is_told() {
    let scene = Scene::new();
    for (args, code, words) in [
        (&["pull", "user/repo:Q2_K"][..], 1, "has no GGUF model in Q2_K"),
        (&["pull", "user/nothing"], 1, "HTTP 404"),
        (&["pull", "user/../repo"], 2, "is refused"),
        (&["pull", "no-such-recipe"], 2, "no recipe is called"),
        (&["pull", REPO, "--offline"], 1, "is not in the cache"),
        (&["generate", "-hf", REPO, "--hf-file", "x.gguf", "-me", "base", "-ma", "none"], 1, "has no file \"x.gguf\""),
        (&["generate", "-hf", REPO, "-m", "x.gguf"], 2, "cannot be used with"),
        (&["generate", "--hf-file", "x.gguf"], 2, "--hf-repo"),
        (&["pull", REPO, "--hf-token", "to ken"], 2, "expected printable ASCII"),
    ] {
        let output = scene.run(args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(words) && !said.contains("panicked") && !said.contains("to ken"), "{args:?}: {said}");
    }
    scene.server.cdn([Fault::WrongBytes]);
    let damaged = scene.run(&["pull", REPO]);
    assert!(stderr(&damaged).contains("expected SHA-256"), "{}", stderr(&damaged));
    // Nothing of it is left under a model's name.
    assert!(stderr(&scene.run(&["pull", REPO, "--offline"])).contains("is not in the cache"));
    assert!(scene.run(&["pull", REPO]).status.success());
}

/// What the file of a role is, as `sha256sum` says it.
fn sha256(role: &str) -> String {
    crate::hub_server::sha256(&std::fs::read(file(role)).expect("readable"))
}

#[test]
fn a_file_that_a_recipe_knows_by_its_hash_is_no_other() {
    let scene = Scene::new();
    let pinned = |hash: &str| {
        scene.recipe(&format!("base = {{ hf = '{REPO}:Q8_0', sha256 = '{hash}' }}\n[[pair]]\nexpert = 'base'\n"))
    };
    let on_cdn = || scene.server.requests().iter().filter(|request| request.on_cdn).count();
    let (right, wrong) = (sha256("base"), sha256("expert"));

    let refused = scene.run(&["pull", &pinned(&wrong)]);
    assert_eq!((refused.status.code(), on_cdn()), (Some(1), 0), "nothing is downloaded: {}", stderr(&refused));
    for words in [format!("expected SHA-256 {wrong}, got {right}"), "hint: ".to_owned(), "trio-Q8_0.gguf".to_owned()] {
        assert!(stderr(&refused).contains(&words), "{}", stderr(&refused));
    }
    // Digits may be typed in capitals.
    let pulled = scene.run(&["pull", &pinned(&right.to_uppercase())]);
    assert!(pulled.status.success(), "{}", stderr(&pulled));
    for (hash, code) in [(&right, 0), (&wrong, 1)] {
        let output = scene.run(&["pull", &pinned(hash), "--offline"]);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    }
    let checked = scene.run(&["check", "-R", &pinned(&right), "--offline"]);
    assert!(stdout(&checked).contains("base sha256"), "{}{}", stdout(&checked), stderr(&checked));
    let malformed = scene.run(&["pull", &pinned("abc")]);
    assert_eq!(malformed.status.code(), Some(1));
    assert!(stderr(&malformed).contains("expected 64 hexadecimal digits"), "{}", stderr(&malformed));
}

#[test]
fn check_reads_local_files_for_their_hash() {
    let scene = Scene::new();
    let recipe = |hash: &str| {
        let [base, expert] = ["base", "expert"].map(|role| file(role).display().to_string());
        scene.recipe(&format!(
            "base = {{ model = '{base}', sha256 = '{hash}' }}\n[[pair]]\nexpert = '{expert}'\nantiexpert = 'base'\n"
        ))
    };
    let (right, wrong) = (sha256("base"), "0".repeat(64));
    let checked = scene.run(&["check", "-R", &recipe(&right)]);
    assert!(checked.status.success() && stdout(&checked).contains("the file that the recipe names"));
    let checked = scene.run(&["check", "-R", &recipe(&wrong)]);
    assert_eq!(checked.status.code(), Some(1), "{}", stdout(&checked));
    assert!(stdout(&checked).contains(&format!("expected SHA-256 {wrong}, got {right}")), "{}", stdout(&checked));
    // It is known of that file alone.
    let other = file("antiexpert").display().to_string();
    let checked = scene.run(&["check", "-R", &recipe(&wrong), "-m", &other]);
    assert!(!stdout(&checked).contains("SHA-256"), "{}", stdout(&checked));
}
