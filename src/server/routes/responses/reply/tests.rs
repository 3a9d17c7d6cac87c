use serde_json::{Value, json};

use super::{Parts, Teller};
use crate::generate::Finish;
use crate::generate::event::{Event, Failure, StopReason};
use crate::server::made_up::{done, seen, started, token, told, told_of_failure};
use crate::server::sse::Frame;

fn parts(n_logprobs: Option<usize>) -> Parts {
    let object = json!({"id": "resp_1", "object": "response"});
    Parts::new(Teller { message_id: "msg_1".to_owned(), object, n_logprobs, ..Teller::default() })
}

fn data(frames: &[Frame]) -> Vec<Value> {
    frames.iter().map(|frame| serde_json::from_str(&frame.data).expect("JSON")).collect()
}

fn stopped() -> Event {
    done(Finish::Stop, Some(StopReason::Eog(1)), "")
}

#[test]
fn a_stream_has_numbered_events_in_order() {
    let data = data(&told(&mut parts(None), vec![started(), token("One"), token(" day"), stopped()]));
    let names: Vec<_> = data.iter().map(|data| data["type"].as_str().expect("a type")).collect();
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names, expected.map(|name| format!("response.{name}")));
    assert!(data.iter().enumerate().all(|(i, data)| data["sequence_number"] == i), "{data:?}");
    let of_the_part = data.iter().filter(|data| data.get("content_index").is_some());
    assert!(of_the_part.clone().all(|data| data["item_id"] == "msg_1" && data["output_index"] == 0));
    assert_eq!(of_the_part.count(), 5);
    let response = &data[9]["response"];
    assert_eq!(response["status"], "completed");
    assert_eq!(response["output"][0]["content"][0]["text"], "One day");
    assert_eq!(response["usage"]["input_tokens_details"]["cached_tokens"], 3);
    assert_eq!(response["usage"]["total_tokens"], 6);
}

#[test]
fn a_text_that_was_cut_is_incomplete() {
    let data = data(&told(&mut parts(None), vec![started(), token("One"), done(Finish::Length, None, "")]));
    let last = data.last().expect("events");
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(last["response"]["output"][0]["status"], "incomplete");
}

#[test]
fn log_probabilities_are_beside_the_text() {
    let data = data(&told(&mut parts(Some(1)), vec![started(), seen("One"), stopped()]));
    assert_eq!(data[4]["logprobs"][0]["logprob"], -0.5);
    assert_eq!(data.last().expect("events")["response"]["output"][0]["content"][0]["logprobs"][0]["token"], "One");
}

#[test]
fn nothing_is_the_answer_to_nothing() {
    let data = data(&told(&mut parts(None), Vec::new()));
    let names: Vec<_> = data.iter().map(|data| data["type"].as_str().expect("a type")).collect();
    assert_eq!(names, ["response.created", "response.in_progress", "response.completed"]);
    assert_eq!(data[2]["response"]["output"], json!([]));
}

#[test]
fn a_failure_ends_the_stream() {
    let frames = told_of_failure(&mut parts(None), vec![started(), token("One")], Failure::busy("too much"));
    let last = data(&frames).pop().expect("events");
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["sequence_number"], 5);
    assert_eq!(last["response"]["error"]["code"], "rate_limit_exceeded");
}
