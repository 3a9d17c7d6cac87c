//! Texts, scores and conversations with the base on a server are those of a base that runs here.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{GREEDY, base, faulty, generated, run_with_key};
use crate::base_server::BaseServer;
use crate::command_line::{json as json_of, proxytune, stderr, stdout};
use crate::engine::PROMPTS;
use crate::server_process::Server;

/// Prompts of one token and of many.
const SOME: [&str; 3] = [PROMPTS[0], PROMPTS[1], PROMPTS[4]];

/// What is written behind a prompt, greedily, by the base at a server or here.
fn text(prompt: &str, more: &[&str]) -> String {
    generated(&[&["-p", prompt, "-n", "24"], more].concat())
}

fn n_looks(server: &BaseServer) -> usize {
    server.requests("/completion").len()
}

#[test]
fn greedy_texts_are_those_of_a_base_that_runs_here() {
    let base = base();
    let ways = [&["--base-exact"][..], &["--base-logprobs", "all"]];
    for prompt in SOME {
        let here = text(prompt, &["--draft", "off"]);
        assert_ne!(here, text(prompt, &["--draft", "off", "--alpha", "0"]), "steering changes nothing in this text");
        for way in ways {
            assert_eq!(text(prompt, &[&["--base-url", &base.url], way].concat()), here, "{prompt} {way:?}");
        }
    }
}

/// What is drawn with a seed is drawn from the same numbers, but for rounding. Penalties would multiply log-probabilities in
/// place of logits.
#[test]
fn sampled_texts_are_those_of_a_base_that_runs_here() {
    let base = base();
    let sampled = [
        "-R",
        "demo",
        "--deterministic",
        "-c",
        "256",
        "--repeat-penalty",
        "1.0",
        "-n",
        "24",
        "-s",
        "7",
        "-p",
        PROMPTS[0],
    ];
    let run = |more: &[&str]| {
        let output = run_with_key(&[&["generate"], &sampled[..], more].concat(), None);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    assert_eq!(run(&["--base-url", &base.url, "--base-logprobs", "all"]), run(&["--draft", "off"]));
    // Where the server draws it is another stream of random numbers, and each seed has one of its own.
    let exact = ["--base-url", &base.url, "--base-exact"];
    assert_eq!(run(&exact), run(&exact));
    assert_ne!(run(&exact), run(&[&exact[..], &["-s", "8"]].concat()));
}

#[test]
fn what_the_base_writes_ahead_changes_no_token_and_saves_requests() {
    let server = faulty();
    let mut before = None;
    for ahead in ["1", "2", "4", "64"] {
        server.clear();
        let told = ["--base-url", &server.url, "--base-logprobs", "200", "--base-ahead", ahead];
        let texts = SOME.map(|prompt| text(prompt, &told));
        let n = n_looks(&server);
        if let Some((expected, n_before)) = before {
            assert_eq!(texts, expected, "{ahead} ahead");
            assert!(
                n < n_before || ahead == "64" && n == n_before,
                "{ahead} ahead: {n} requests, {n_before} with fewer"
            );
        } else {
            assert_eq!(n, 3 * 24);
        }
        before = Some((texts, n));
    }
}

#[test]
fn what_the_server_does_not_show_is_told() {
    let base = base();
    let run = |more: &[&str]| {
        let args = ["generate", "-R", "demo", "--temp", "0", "--repeat-penalty", "1.0", "-n", "8", "-p", PROMPTS[0]];
        let output = run_with_key(&[&args[..], &["--base-url", base.url.as_str()], more].concat(), None);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let said = run(&["--base-logprobs", "20"]);
    assert!(said.contains("server: 8 positions of the base by "), "{said}");
    let (_, hidden) = said.split_once("tokens that it does not show have ").unwrap_or_else(|| panic!("{said}"));
    let share: f64 = hidden.split(" %").next().and_then(|share| share.parse().ok()).expect("a share");
    assert!(share > 1.0 && share < 99.0, "{said}");
    let all = run(&["--base-logprobs", "all"]);
    assert!(all.contains("8 positions of the base by 8 requests") && !all.contains("does not show"), "{all}");
    let exact = run(&["--base-exact"]);
    assert!(exact.contains("the server chose from the whole steered distribution"), "{exact}");
}

/// A server whose base is on another server: several texts at once, each what it is alone.
#[test]
fn a_server_on_top_of_a_server_writes_many_texts_at_once() {
    let base = base();
    for way in [&["--base-logprobs", "all"][..], &["--base-exact"]] {
        let args = ["-R", "demo", "--temp", "0", "--repeat-penalty", "1.0", "--deterministic", "-c", "256", "-np", "3"];
        let server = Server::start(&[&args[..], &["--base-url", base.url.as_str()], way].concat());
        let asked = |prompt: &str| {
            let answer = server.post("/v1/completions", &json!({"prompt": prompt, "max_tokens": 24})).ok();
            answer["choices"][0]["text"].as_str().expect("a text").to_owned()
        };
        std::thread::scope(|scope| {
            let running = PROMPTS.map(|prompt| (prompt, scope.spawn(move || asked(prompt))));
            for (prompt, running) in running {
                let there = running.join().expect("an answer");
                assert_eq!(there.trim_end(), text(prompt, &["--draft", "off"]).trim_end(), "{prompt} {way:?}");
            }
        });
    }
}

#[test]
fn perplexity_is_that_of_a_base_that_runs_here() {
    let base = base();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("text.txt");
    std::fs::write(&path, PROMPTS[4]).expect("writable");
    let args =
        ["perplexity", "-R", "demo", "-f", path.to_str().expect("UTF-8"), "--alpha", "0.5", "-c", "128", "--json"];
    let losses = |more: &[&str]| {
        let results = json_of(&[&args, more].concat())["results"].clone();
        let results = results.as_array().expect("results").iter();
        results.map(|row| row["nats_per_token"].as_f64().expect("a loss")).collect::<Vec<_>>()
    };
    let here = losses(&[]);
    let all = losses(&["--base-url", &base.url, "--base-logprobs", "all"]);
    for (here, there) in here.iter().zip(&all) {
        // Batches of other sizes round differently.
        assert!((here - there).abs() < 0.02, "{here} here, {there} there");
    }
    // Ids that are not shown share what the others leave.
    let part = losses(&["--base-url", &base.url, "--base-logprobs", "200"]);
    assert_eq!(part[1..3], here[1..3], "the pair runs here");
    assert!((part[0] - here[0]).abs() < 0.5, "{} here, {} there", here[0], part[0]);
}

#[test]
fn a_task_is_answered_with_a_base_on_a_server() {
    let base = base();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.to_str().expect("UTF-8").to_owned()
    };
    let task = write(
        "words.toml",
        "description = \"Which word begins the next sentence?\"\nprompt = \"{{ opening }}\"\nanswer = \"word\"\n\
         stop = [\"\\n\"]\nmax_tokens = 12\nmetric = \"exact_match\"\ncompare = \"last\"\n[[filter]]\nname = \"last\"\n\
         pattern = '[A-Za-z]+'\ntake = \"last\"\n",
    );
    let item = |opening: &str, word: &str| json!({"opening": opening, "word": word}).to_string() + "\n";
    let data = write("data.jsonl", &(item(PROMPTS[0], "her") + &item(PROMPTS[1], "the")));
    let run = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let args = ["eval", &task, "--data", &data, "--results", out.to_str().expect("UTF-8"), "-R", "demo"];
        let args = [&args[..], &["--contenders", "base,steered", "--deterministic", "-c", "256"], more].concat();
        let output = run_with_key(&args, None);
        assert!(output.status.success(), "{}", stderr(&output));
        let text = std::fs::read_to_string(out).expect("results");
        let answers = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut answers: Vec<_> =
            answers.map(|it| (it["contender"].clone(), it["item"].clone(), it["text"].clone())).collect();
        answers.sort_by_key(|answer| format!("{answer:?}"));
        answers
    };
    let here = run("here.jsonl", &[]);
    assert!(here.len() >= 4, "{here:?}");
    assert_eq!(run("there.jsonl", &["--base-url", &base.url, "--base-logprobs", "all"]), here);
}

#[test]
fn piped_lines_are_answered_by_a_base_on_a_server() {
    let base = base();
    let chat = |more: &[&str]| {
        let mut command = proxytune(&[&["chat"], &GREEDY[..], &["-n", "12", "-t", "1"], more].concat());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        child.stdin.take().expect("a pipe").write_all(b"The boy went\nThen he\n").expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let here = chat(&["--draft", "off"]);
    assert!(here.lines().filter(|line| !line.is_empty()).count() >= 2, "{here}");
    for way in [&["--base-logprobs", "all"][..], &["--base-exact"]] {
        assert_eq!(chat(&[&["--base-url", base.url.as_str()], way].concat()), here, "{way:?}");
    }
}
