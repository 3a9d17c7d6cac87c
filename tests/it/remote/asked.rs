//! What is typed, or stands in a recipe, of a base on a server: taken, or refused in words.

use super::{base, generated, run_with_key, tried};
use crate::command_line::{refused, stdout};
use crate::trio::{PROMPT, file};

/// Where nobody listens; what is refused before is asked nothing.
const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn what_does_not_go_together_is_bad_usage() {
    let path = file("base");
    let path = path.to_str().expect("UTF-8");
    let server = ["generate", "-R", "demo", "-p", "x", "--base-url"];
    for (args, words) in [
        (&["generate", "-m", path, "--base-url", NOBODY][..], "cannot be used with"),
        (&["generate", "-hf", "a/b", "--base-url", NOBODY], "cannot be used with"),
        (&["generate", "-R", "demo", "--base-exact"], "the base is on none"),
        (&["generate", "-R", "demo", "--base-logprobs", "5"], "the base is on none"),
        (&["generate", "-m", path, "--base-ahead", "2"], "the base is on none"),
        (&["generate", "--base-timeout", "2"], "the base is on none"),
        (&["generate", "--base-retries", "2"], "the base is on none"),
        (&["generate", "--base-api", "vllm"], "the base is on none"),
        (&["generate", "--base-model", "a"], "the base is on none"),
        (&["generate", "--base-tokenizer", "a"], "the base is on none"),
        (&["generate", "--base-offset-threshold", "0.1"], "the base is on none"),
        (&["generate", "--base-api-key-file", "a"], "the base is on none"),
        (&["generate", "--base-url", NOBODY, "-p", "x"], "beside it"),
        (&[&server[..], &["127.0.0.1:1"]].concat(), "expected http://HOST:PORT"),
        (&[&server[..], &["http://user:word@127.0.0.1:1"]].concat(), "without user"),
        (&[&server[..], &["ftp://127.0.0.1:1"]].concat(), "expected http://HOST:PORT"),
        (&[&server[..], &[NOBODY, "--base-logprobs", "0"]].concat(), "a number from 1 on, or all"),
        (&[&server[..], &[NOBODY, "--base-logprobs", "-1"]].concat(), "a number from 1 on, or all"),
        (&[&server[..], &[NOBODY, "--base-ahead", "0"]].concat(), "1 to 64 tokens"),
        (&[&server[..], &[NOBODY, "--base-ahead", "65"]].concat(), "1 to 64 tokens"),
        (&[&server[..], &[NOBODY, "--base-timeout", "0"]].concat(), "a second or more"),
        (&[&server[..], &[NOBODY, "--base-api", "grpc"]].concat(), "llama-server, vllm, openai"),
        (&[&server[..], &[NOBODY, "--base-exact", "--base-api", "vllm"]].concat(), "expected llama-server"),
        (&[&server[..], &[NOBODY, "--base-offset-threshold", "0.1"]].concat(), "beside --base-exact"),
        (&[&server[..], &[NOBODY, "--base-exact", "--base-offset-threshold", "2"]].concat(), "0 to 1 nats"),
    ] {
        let said = refused(args, 2);
        assert!(said.contains(words) && !said.contains("word@"), "{args:?}: {said}");
    }
}

/// A server that samples begins anew with every token: what remembers the text is refused by its name.
#[test]
fn what_a_server_that_samples_cannot_do_is_refused_by_name() {
    let base = base();
    for (more, words) in [
        (&["--repeat-penalty", "1.1"][..], "penalties"),
        (&["--presence-penalty", "0.5"], "penalties"),
        (&["--frequency-penalty", "0.5"], "penalties"),
        (&["--dry-multiplier", "0.8"], "dry"),
        (&["--mirostat", "2"], "mirostat 2"),
        (&["--grammar", "root ::= \"a\"+"], "grammar"),
        (&["--json-schema", "{}"], "schema"),
        (&["--regex", "[ab]+"], "regular expression"),
        (&["--plausibility", "0.1"], "plausibility"),
        (&["--samplers", "top_k;proxy;temperature"], "top_k in front of proxy"),
        (&["--base-weight", "0.5"], "weight of the base"),
        (&["-ma", "base"], "a pair one side of which is the base"),
    ] {
        let args = ["-p", PROMPT, "-n", "2", "--temp", "0.8", "--base-exact", "--base-url", &base.url];
        let (code, text, said) = tried(&[&args, more].concat(), None);
        assert!(
            code == Some(2) && said.contains("--base-exact cannot do ") && said.contains(words),
            "{more:?}: {code:?} {said}"
        );
        assert_eq!(text, "");
    }
}

#[test]
fn a_recipe_names_a_server() {
    let base = base();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (expert, antiexpert) = (file("expert"), file("antiexpert"));
    let side = |path: &std::path::Path| format!("{:?}", path.to_str().expect("UTF-8"));
    let pair = format!("[[pair]]\nexpert = {}\nantiexpert = {}\nalpha = 0.75\n", side(&expert), side(&antiexpert));
    let write = |text: &str| {
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, text).expect("writable");
        path.to_str().expect("UTF-8").to_owned()
    };
    let remote = |more: &str| format!("[base.remote]\nurl = {:?}\n{more}\n{pair}", base.url);
    let run = |recipe: &str, more: &[&str]| {
        let args = ["generate", "-R", recipe, "-p", PROMPT, "-n", "12", "--temp", "0", "--repeat-penalty", "1.0"];
        let output =
            super::run_with_key(&[&args[..], &["--deterministic", "-c", "256", "--no-perf"], more].concat(), None);
        assert!(output.status.success(), "{}", crate::command_line::stderr(&output));
        crate::command_line::stdout(&output)
    };
    let exact = write(&remote("exact = true"));
    let here = generated(&["-p", PROMPT, "-n", "12", "--draft", "off"]);
    assert_eq!(run(&exact, &[]), here);
    // What is typed goes over what it says of the same server.
    let said = refused(&["generate", "-R", &exact, "-p", "x", "--base-ahead", "65"], 2);
    assert!(said.contains("1 to 64"), "{said}");
    // Another server is asked as if the recipe had said nothing.
    let bad = write(&format!("[base.remote]\nurl = {NOBODY:?}\nlogprobs = 1\n{pair}"));
    assert_eq!(run(&bad, &["--base-url", &base.url, "--base-exact"]), here);

    let valid = [
        ("logprobs = 200", ""),
        ("logprobs = \"all\"", ""),
        ("api = \"llama-server\"\nahead = 2\ntimeout = 5\nretries = 0", ""),
    ];
    for (more, _) in valid {
        let path = write(&remote(more));
        let output = super::run_with_key(&["recipe", "validate", &path], None);
        assert!(output.status.success(), "{more}: {}", crate::command_line::stderr(&output));
    }
    for (text, words) in [
        (remote("key = \"sk-secret\""), "key"),
        (remote("api_key = \"sk-secret\""), "api_key"),
        (remote("logprobs = 0"), "logprobs"),
        (remote("logprobs = \"some\""), "all"),
        (remote("ahead = 0"), "1 to 64"),
        (remote("api = \"grpc\""), "grpc"),
        (remote("exact = true\napi = \"vllm\""), "llama-server"),
        (remote("").replace("[base.remote]\nurl", "[base.remote]\nurls"), "urls"),
        (remote("").replace("http://", "http://user:word@"), "without user"),
        (format!("[base]\nmodel = {}\n[base.remote]\nurl = {NOBODY:?}\n{pair}", side(&expert)), "here are several"),
        (format!("[base.remote]\nurl = {NOBODY:?}\n"), "a file of its own beside it"),
        (
            format!(
                "base = {}\n[[pair]]\nantiexpert = {}\n[pair.expert.remote]\nurl = {NOBODY:?}\n",
                side(&expert),
                side(&antiexpert)
            ),
            "the base alone may be on a server",
        ),
    ] {
        let path = write(&text);
        let output = super::run_with_key(&["generate", "-R", &path, "-p", "x"], None);
        let said = crate::command_line::stderr(&output);
        let code = output.status.code();
        assert!(
            matches!(code, Some(1 | 2)) && said.contains("error: ") && said.contains(words),
            "{text}: {code:?} {said}"
        );
        assert!(!said.contains("word@"), "{said}");
    }
}

/// `check` tells who is there, what it shows, and how it will be used.
#[test]
fn check_tells_what_a_server_offers() {
    let base = base();
    let check = |more: &[&str]| run_with_key(&[&["check", "-R", "demo"], more].concat(), None);
    for (more, mode) in [
        (&[][..], "top 20: a token is chosen among those that the server shows"),
        (&["--base-exact"], "exact: the offset goes to the server"),
        (&["--base-logprobs", "all"], "exact: the log-probabilities of the whole vocabulary come here"),
    ] {
        let output = check(&[&["--base-url", &base.url], more].concat());
        let said = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        for part in ["llama-server (proxytune-", "tokens as the small models do", "at a position, by id", mode] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
        assert!(!said.contains("base tuned"), "the expert is not the base: {said}");
    }
    let output = check(&["--base-url", "http://127.0.0.1:1", "--base-retries", "0"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("refused  base server") && said.contains("nobody listens there"), "{said}");
}
