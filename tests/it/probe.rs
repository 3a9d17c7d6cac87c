//! Files that pass every check of ours and end llama.cpp: they end a child, before anything is loaded.

use std::path::Path;
use std::process::{Command, Output};

use proxytune::inspect::probe::{Ended, Prober, Request};
use proxytune::llama::context::Sequences;
use proxytune::steer::{ModelSource, PairPlan, Plan, Role};

use crate::gguf::{Spec, Value};

const PROXYTUNE: &str = env!("CARGO_BIN_EXE_proxytune");

/// Positions that turn half of a head: the header is well-formed, and the graph of qwen2 asserts that all of it turns.
fn fatal() -> Spec {
    Spec { architecture: "qwen2".to_owned(), ..Spec::tiny() }.with(".rope.dimension_count", Value::U32(16))
}

fn proxytune(cache: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(PROXYTUNE);
    command.args(args).env("PROXYTUNE_CACHE", cache).stdin(std::process::Stdio::null());
    command.output().expect("it starts")
}

fn files(folder: &Path) -> [String; 3] {
    [("base", Spec::tiny()), ("expert", Spec { seed: 2, ..Spec::tiny() }), ("fatal", fatal())].map(|(name, spec)| {
        let path = folder.join(name).with_extension("gguf");
        spec.write(&path).expect("writable");
        path.to_str().expect("UTF-8").to_owned()
    })
}

#[test]
fn no_command_ends_with_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [base, expert, fatal] = &files(folder.path());
    let text = folder.path().join("text");
    std::fs::write(&text, "a b c d e f g ".repeat(40)).expect("writable");
    let text = text.to_str().expect("UTF-8");
    let trio = ["-m", base, "-me", expert, "-ma", fatal, "-t", "1"];
    for command in [
        &["generate", "-p", "x", "-n", "1"][..],
        &["compare", "-p", "x", "-n", "1"],
        &["chat"],
        &["perplexity", "-f", text],
        &["bench", "-p", "8", "-n", "8", "-r", "1"],
    ] {
        let output = proxytune(folder.path(), &[command, &trio].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(
            said.contains("error: antiexpert: ") && said.contains("llama.cpp does not survive this file"),
            "{said}"
        );
        assert!(said.contains("fatal.gguf") && said.contains("GGML_ASSERT") && said.contains("hint: "), "{said}");
    }
    let output = proxytune(folder.path(), &[&["check"], &trio[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("antiexpert load"));
}

#[test]
fn what_survived_is_remembered_until_it_changes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("cache");
    let [base, expert, fatal] = &files(folder.path());
    let n_lines = || std::fs::read_to_string(cache.join("survived.jsonl")).map_or(0, |text| text.lines().count());
    let run = |args: &[&str]| {
        let trio = ["generate", "-m", base, "-me", expert, "-ma", "none", "-p", "x", "-n", "1", "-t", "1"];
        proxytune(&cache, &[&trio, args].concat()).status.code()
    };
    assert_eq!((run(&[]), n_lines()), (Some(0), 2), "a line for each file");
    assert_eq!((run(&["-s", "2"]), n_lines()), (Some(0), 2), "nothing new was asked");
    assert_eq!((run(&["-c", "32"]), n_lines()), (Some(0), 4), "another context is laid out anew");
    Spec { seed: 3, ..Spec::tiny() }.write(Path::new(expert)).expect("writable");
    assert_eq!((run(&[]), n_lines()), (Some(0), 5), "one file is another");
    std::fs::copy(fatal, expert).expect("writable");
    assert_eq!((run(&[]), n_lines()), (Some(1), 5), "it did not survive");
}

/// A cache that cannot be written, or that holds anything, costs a question each time.
#[test]
fn a_cache_that_cannot_be_used_does_no_harm() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [base, ..] = &files(folder.path());
    let (a_file, garbage) = (folder.path().join("file"), folder.path().join("garbage"));
    std::fs::write(&a_file, "").expect("writable");
    std::fs::create_dir(&garbage).expect("writable");
    std::fs::write(garbage.join("survived.jsonl"), b"\xff\xfe\0[]\n{}").expect("writable");
    for cache in [a_file, garbage] {
        let args = ["generate", "-m", base, "-me", base, "-ma", "none", "-p", "x", "-n", "1", "-t", "1", "--no-perf"];
        let output = proxytune(&cache, &args);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_library_names_the_program() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [base, _, fatal] = files(folder.path());
    let side = |path: &str| Some(ModelSource::new(path).into());
    let pair = |expert| PairPlan { alpha: proxytune::recipe::Schedule::constant(1.0), expert, ..PairPlan::default() };
    let plan = Plan { pairs: vec![pair(side(&base)), pair(side(&fatal))], ..Plan::alone(ModelSource::new(&base)) };
    let facts = plan.check().expect("well-formed");
    let admit = |prober: Prober| prober.admit(&plan, &facts, &|| false).expect_err("a file that ends llama.cpp");

    let refused = admit(Prober::proxytune(PROXYTUNE));
    assert_eq!((refused.role, refused.path.as_path()), (Role::Expert(1), Path::new(&fatal)));
    assert!(matches!(refused.ended, Ended::Died { .. }), "{refused}");

    let nothing = admit(Prober::proxytune(folder.path().join("nothing")));
    assert!(matches!(nothing.ended, Ended::NotAsked(_)), "{nothing}");
    let (source, sequences) = (ModelSource::new(&base), Sequences::ONE);
    let request = Request { source, sequences, rpc: Vec::new(), deep: false };
    let answer = |prober: Prober, stopped: bool| prober.ask(&request, &|| stopped).probed;
    assert!(answer(Prober::proxytune(PROXYTUNE), false).is_ok_and(|probed| probed.layout.is_ok()));
    #[cfg(unix)]
    {
        let late = answer(Prober::new("sh", ["-c".into(), "exec sleep 1000".into()]), true);
        assert!(matches!(late, Err(Ended::Interrupted)), "{late:?}");
        let other = answer(Prober::new("true", []), false);
        assert!(matches!(other, Err(Ended::Died { .. })), "{other:?}");
    }
}
