//! `proxytune bench`: what it counts must add up. How fast it was is nobody's business here.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// One thread, since tests run beside one another; rows that do not depend on how tokens are batched.
const QUICK: [&str; 11] = ["-p", "16", "-n", "8", "-r", "2", "-t", "1", "--deterministic", "--draft", "4"];

fn bench(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxytune"));
    command.arg("bench").args(args).stdin(Stdio::null()).env_remove("PROXYTUNE_MODELS");
    command
}

fn run(args: &[&str]) -> Output {
    let output = bench(args).output().expect("it starts");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn text(args: &[&str]) -> String {
    String::from_utf8(run(&[&QUICK, args].concat()).stdout).expect("UTF-8")
}

fn refused(args: &[&str], code: i32) -> String {
    let output = bench(args).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    said
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().expect("an array").iter().map(|n| n.as_u64().expect("a number")).collect()
}

#[test]
fn the_json_object_adds_up() {
    const N_RUNS: u64 = 2 * 8;
    let output = run(&[&QUICK[..], &["-o", "json"]].concat());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "nothing to say without a terminal");
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let rows = object["results"].as_array().expect("rows");
    let who: Vec<_> =
        rows.iter().map(|row| ["role", "how"].map(|key| row[key].as_str().expect("a name")).join(" ")).collect();
    let expected = ["base", "expert", "antiexpert"].map(|role| format!("{role} alone"));
    let expected: Vec<_> = expected.iter().flat_map(|who| [who.as_str(); 2]).collect();
    assert_eq!(who, [&expected[..], &["steered lockstep"; 2], &["steered speculative"]].concat());
    for row in rows {
        let (n_prompt, n_gen) = (row["n_prompt"].as_u64().expect("n"), row["n_gen"].as_u64().expect("n"));
        assert!([(16, 0), (0, 8)].contains(&(n_prompt, n_gen)), "{row}");
        let ns = numbers(&row["samples_ns"]);
        assert_eq!(ns.len() as u64, if n_gen == 0 { 2 } else { N_RUNS });
        let mean = ns.iter().sum::<u64>() as f64 / ns.len() as f64;
        assert!((row["avg_ns"].as_f64().expect("ns") - mean).abs() <= 1.0);
        assert!(row["avg_ts"].as_f64().is_some_and(|speed| speed > 0.0));
        assert_eq!(row["n_threads"], 1);
        assert_eq!((&row["type_k"], &row["flash_attn"]), (&"q8_0".into(), &1.into()));
        for name in ["build_commit", "cpu_info", "backends", "model_filename", "model_type", "test_time"] {
            assert!(row[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {row}");
        }
    }

    let derived = &object["derived"];
    let drafts = &derived["drafts"];
    let count = |tally: &Value| ["n_drafted", "n_accept"].map(|key| tally[key].as_u64().expect("a number"));
    let [n_drafted, n_accept] = count(&drafts["all"]);
    assert!(n_accept <= n_drafted && n_drafted > 0);
    let sum = |tallies: &[&Value]| {
        tallies.iter().fold([0, 0], |sum, tally| {
            let [drafted, kept] = count(tally);
            [sum[0] + drafted, sum[1] + kept]
        })
    };
    assert_eq!(sum(&[&drafts["by_model"], &drafts["by_lookup"]]), [n_drafted, n_accept]);
    let places: Vec<_> = drafts["by_place"].as_array().expect("places").iter().collect();
    assert_eq!(sum(&places), [n_drafted, n_accept]);
    let steps = numbers(&drafts["steps"]);
    let n_steps = drafts["n_steps"].as_u64().expect("a number");
    assert_eq!(steps.iter().sum::<u64>(), n_steps);
    // Every step decodes a token that was chosen, and drafts.
    let n_decoded: u64 = steps.iter().zip(0..).map(|(n, tokens)| n * tokens).sum();
    assert_eq!(n_decoded, n_steps + n_drafted);
    assert_eq!(drafts["n_tokens"], N_RUNS * 8);
    assert_eq!(n_steps + n_accept, N_RUNS * 8, "a token from every step and from every draft that was accepted");
    assert_eq!((&drafts["n_texts"], &drafts["n_same"]), (&N_RUNS.into(), &N_RUNS.into()), "greedy texts are the same");

    for name in ["speculative_over_lockstep", "speculative_over_base", "lockstep_over_base", "lockstep_time_over_parts"]
    {
        let ratio = &derived["ratios"][name];
        let [median, low, high] =
            [&ratio["median"], &ratio["interval"][0], &ratio["interval"][1]].map(|x| x.as_f64().expect("a number"));
        assert!(0.0 < low && low <= median && median <= high, "{ratio}");
        assert_eq!(ratio["n"], N_RUNS);
    }
    assert_eq!(derived["shares"].as_array().map(Vec::len), Some(2));
    for costs in derived["step_costs"].as_array().expect("subjects") {
        let steps = costs["steps"].as_array().expect("steps");
        let widths: Vec<_> = steps.iter().map(|step| step["n_tokens"].as_u64().expect("a number")).collect();
        assert_eq!(widths, [1, 2, 4, 8, 16]);
        assert_eq!(steps[0]["c"]["median"], 1.0);
    }
    let batches = derived["batches"].as_array().expect("models");
    assert!(batches.len() == 3 && batches.iter().all(|model| model["batch_invariant"] == true), "{batches:?}");
    let memory = &derived["memory"];
    assert!(memory["bandwidth"]["bytes_per_s"].as_f64().is_some_and(|rate| rate > 0.0));
    let subjects = memory["subjects"].as_array().expect("subjects");
    let bytes = |i: usize| subjects[i]["weight_bytes"].as_f64().expect("bytes");
    assert_eq!(subjects.len(), 5);
    assert!((bytes(0) + bytes(1) + bytes(2) - bytes(3)).abs() < 1.0, "lockstep reads what its models read");
    assert_eq!(rows[0]["model_size"].as_f64(), Some(bytes(0)), "its embedding is its output too");
    assert!(!object["system"]["system_info"].as_str().expect("words").is_empty());
}

#[test]
fn rows_come_as_lines_and_tables_too() {
    let lines = text(&["-o", "jsonl", "--draft", "off"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert_eq!(lines.len(), 8 + 1);
    assert!(lines[7]["avg_ts"].is_number() && lines[8]["derived"]["drafts"].is_null());

    let csv = text(&["-o", "csv", "-n", "0"]);
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 4);
    assert!(lines[0].starts_with("build_commit,build_number,cpu_info,gpu_info,backends,model_filename,"));
    let n_fields = lines[0].split(',').count();
    assert!(lines[1].starts_with('"') && lines[1].matches("\",\"").count() + 1 == n_fields, "{csv}");

    let md = text(&["-p", "0"]);
    for part in [" tg8 |", " ± ", "speculative / lockstep, t/s", "K = 16", "| place 1 ", "Roofline", "build: proxytune"]
    {
        assert!(md.contains(part), "{part} in {md}");
    }
    // Every line of a table is as long as its first.
    for table in md.split("\n\n").filter(|part| part.starts_with('|')) {
        let lengths: BTreeSet<_> = table.lines().map(|line| line.chars().count()).collect();
        assert_eq!(lengths.len(), 1, "{table}");
    }
}

#[test]
fn a_base_alone_and_other_arrangements_are_measured() {
    let base = crate::trio::file("base");
    let base = base.to_str().expect("UTF-8");
    let mut prompts = tempfile::NamedTempFile::new().expect("a temporary file");
    prompts.write_all(b"Once upon a time\nThe dog\n").expect("writable");
    let prompts = prompts.path().to_str().expect("UTF-8");
    let quick = ["-p", "8", "-n", "4", "-r", "1", "-t", "1", "-o", "json", "-f", prompts];
    let object = |args: &[&str]| -> Value {
        serde_json::from_slice(&run(&[&quick, args].concat()).stdout).expect("one JSON object")
    };
    let alone = object(&["-m", base]);
    assert_eq!(alone["results"].as_array().map(Vec::len), Some(2));
    assert_eq!(alone["results"][1]["samples_ns"].as_array().map(Vec::len), Some(2), "two prompts");
    // One model under two prompts is a model once, and two lanes.
    let guidance = object(&["-R", "guidance", "--temp", "0.8", "-s", "3"]);
    let who: Vec<_> = guidance["results"].as_array().expect("rows").iter().map(|row| &row["how"]).collect();
    assert_eq!(who, ["alone", "alone", "lockstep", "lockstep", "speculative"]);
    let weights = |i: usize| guidance["derived"]["memory"]["subjects"][i]["weight_bytes"].clone();
    assert_eq!(weights(0), weights(1), "read once for both lanes");
}

#[test]
fn bad_values_say_what_to_do() {
    for (args, code, words) in [
        (&["-o", "sql"][..], 2, "[possible values: md, json, jsonl, csv]"),
        (&["-r", "0"], 2, "0 is not in 1.."),
        (&["-p", "0", "-n", "0"], 2, "nothing to measure"),
        (&["-p", "300", "-c", "256"], 2, "a prompt of 300 tokens does not fit into a context of 256"),
        (&["-p", "8", "-n", "250", "-c", "256"], 2, "hint: a smaller -n"),
        (&["-f", "/dev/null"], 2, "holds no prompt"),
        (&["-p", "8", "-n", "4", "--draft", "40"], 2, "draft is 40"),
        (&["-p", "8", "-n", "4", "--temp", "-1"], 2, "temp is -1"),
        (&["-p", "8", "-n", "4", "--grammar", "root ::= \"a\""], 1, "the grammar was complete"),
    ] {
        let said = refused(args, code);
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn ctrl_c_ends_it_with_what_was_measured() {
    let mut child = bench(&["-p", "8", "-n", "8", "-r", "1000000", "-t", "1", "-v", "-o", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // What llama.cpp says while it opens contexts tells that it is at work.
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let at_work = said.any(|line| line.is_ok_and(|line| line.contains("compute buffer")));
    assert!(at_work);
    let rest = std::thread::spawn(move || said.map_while(Result::ok).collect::<Vec<_>>());
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let rest = rest.join().expect("it reads");
    assert!(!rest.iter().any(|line| line.starts_with("error")), "{rest:?}");
}

#[test]
fn a_terminal_sees_what_is_measured_and_no_bar_of_nothing() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let args = [&["bench"], &QUICK[..], &["-o", "jsonl"]].concat();
    let mut terminal = crate::chat::Terminal::run(&args, home.path());
    let shown = terminal.until("{\"derived\"");
    assert!(shown.contains("warming up") && !shown.contains("0 of 0"), "{shown}");
    assert_eq!(terminal.end(), Some(0));
}
