use serde_json::{Value, json};

use super::{Lines, Teller};
use crate::generate::Finish;
use crate::generate::event::{Failure, StopReason};
use crate::server::made_up::{done, seen, started, token, told, told_of_failure};

fn lines(n_logprobs: Option<usize>) -> Lines {
    Lines::new(Teller { model: "demo:latest".to_owned(), n_logprobs, ..Teller::default() })
}

#[test]
fn a_stream_ends_with_counts() {
    let stopped = done(Finish::Stop, Some(StopReason::Eog(1)), "");
    let frames = told(&mut lines(None), vec![started(), token("One"), token(" day"), stopped]);
    let lines: Vec<Value> = frames.iter().map(|frame| serde_json::from_str(&frame.data).expect("JSON")).collect();
    let texts: Vec<_> = lines.iter().map(|line| line["message"]["content"].as_str().expect("a text")).collect();
    assert_eq!(texts, ["One", " day", ""]);
    assert!(lines.iter().all(|line| line["model"] == "demo:latest" && line["message"]["role"] == "assistant"));
    assert_eq!([&lines[0]["done"], &lines[2]["done"]], [&json!(false), &json!(true)]);
    let last = &lines[2];
    assert_eq!(
        (&last["done_reason"], &last["prompt_eval_count"], &last["eval_count"]),
        (&json!("stop"), &json!(4), &json!(2))
    );
    for name in ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] {
        assert!(last[name].is_u64(), "{name}: {last}");
    }
    let created = last["created_at"].as_str().expect("a time");
    assert!(created.parse::<jiff::Timestamp>().is_ok(), "{created}");
}

#[test]
fn log_probabilities_are_beside_their_pieces() {
    let frames = told(&mut lines(Some(1)), vec![started(), seen("One"), done(Finish::Length, None, "")]);
    let line: Value = serde_json::from_str(&frames[0].data).expect("JSON");
    assert_eq!(line["logprobs"][0]["logprob"], -0.5);
    assert_eq!(line["logprobs"][0]["top_logprobs"][0]["token"], "One");
}

#[test]
fn a_failure_is_a_line() {
    let frames = told_of_failure(&mut lines(None), vec![started(), token("One")], Failure::unavailable("it is gone"));
    let last: Value = serde_json::from_str(&frames.last().expect("lines").data).expect("JSON");
    assert_eq!(last, json!({"error": "it is gone (try again later)"}));
}
