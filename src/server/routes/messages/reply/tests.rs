use serde_json::{Value, json};

use super::{Blocks, Teller};
use crate::generate::Finish;
use crate::generate::event::{Event, Failure, StopReason};
use crate::server::made_up::{done, started, token, told, told_of_failure};
use crate::server::outcome::Outcome;
use crate::server::sse::Frame;

fn teller() -> Teller {
    Teller { id: "msg_1".to_owned(), model: "demo".to_owned(), ..Teller::default() }
}

fn data(frames: &[Frame]) -> Vec<Value> {
    frames.iter().map(|frame| serde_json::from_str(&frame.data).expect("JSON")).collect()
}

fn events(end: Event) -> Vec<Event> {
    vec![started(), token("One"), token(""), token(" day"), end]
}

#[test]
fn a_stream_has_anthropics_events_in_order() {
    let frames = told(&mut Blocks::new(teller()), events(done(Finish::Length, None, ".")));
    let names: Vec<_> = frames.iter().map(|frame| frame.name.expect("a name")).collect();
    let delta = "content_block_delta";
    let begin = ["message_start", "content_block_start", "ping"];
    let end = ["content_block_stop", "message_delta", "message_stop"];
    assert_eq!(names, [&begin[..], &[delta; 3], &end].concat());
    let data = data(&frames);
    assert!(data.iter().zip(&names).all(|(data, name)| data["type"] == *name), "{data:?}");
    let usage = json!({
        "input_tokens": 1, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 0, "output_tokens": 0,
    });
    assert_eq!(data[0]["message"]["usage"], usage);
    let text: String = data.iter().filter_map(|data| data["delta"]["text"].as_str()).collect();
    assert_eq!(text, "One day.");
    assert_eq!(data[7]["delta"], json!({"stop_reason": "max_tokens", "stop_sequence": null}));
    assert_eq!(data[7]["usage"]["output_tokens"], 3);
}

#[test]
fn what_ended_a_message_is_told() {
    let whole = |end| {
        let mut outcome = Outcome::default();
        for event in events(end) {
            outcome.add(event);
        }
        let whole = teller().whole(&outcome);
        (whole["stop_reason"].clone(), whole["stop_sequence"].clone(), whole["content"].clone())
    };
    let content = json!([{"type": "text", "text": "One day"}]);
    let text = StopReason::Text(" night".to_owned());
    let eog = StopReason::Eog(1);
    assert_eq!(whole(done(Finish::Stop, Some(text), "")), (json!("stop_sequence"), json!(" night"), content.clone()));
    assert_eq!(whole(done(Finish::Stop, Some(eog), "")), (json!("end_turn"), Value::Null, content.clone()));
    assert_eq!(whole(done(Finish::Length, None, "")), (json!("max_tokens"), Value::Null, content.clone()));
    let Event::Done(full) = done(Finish::Length, None, "") else { unreachable!() };
    let full = Event::Done(crate::generate::event::Done { is_full: true, ..full });
    assert_eq!(whole(full), (json!("model_context_window_exceeded"), Value::Null, content));
}

#[test]
fn a_failure_is_an_event_of_its_own() {
    let failure = Failure::unavailable("it is gone");
    let frames = told_of_failure(&mut Blocks::new(teller()), vec![started(), token("One")], failure);
    let last = frames.last().expect("events");
    assert_eq!(last.name, Some("error"));
    let error: Value = serde_json::from_str(&last.data).expect("JSON");
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"]["type"], "overloaded_error");
}
