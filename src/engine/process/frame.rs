//! Lines between the two processes.
//!
//! ```text
//! to the child:    the set-up, then commands       {"submit":{"id":3,"ensemble":0,"request":{…}}}
//! to the parent:   frames                          {"engine":{"event":[3,{"token":{…}}]}}
//! ```
//!
//! Libraries may write to stdout too. A frame therefore begins on a line of its own and is told by its first word; other
//! lines are talk.

use std::io::{self, Write};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::Id;
use crate::engine::about::About;
use crate::engine::desk::Reply;
use crate::engine::health::SlotHealth;
use crate::generate::event::{Event, Failure};

/// What a process is told. What a command holds is read by itself: one that cannot be read fails by itself.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command<Request = (), Question = (), Weights = ()> {
    Submit { id: Id, ensemble: usize, request: Request },
    Cancel(Id),
    Steer { id: Id, weights: Weights },
    Ask { id: Id, question: Question },
}

/// A command of which only the outside was read.
pub(super) type Unread = Command<Value, Value, Value>;

/// What a process tells.
#[allow(clippy::large_enum_variant, reason = "most frames are events")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Frame {
    Loading {
        what: String,
        share: f32,
    },
    Ready(Vec<About>),
    /// It could not be loaded, and ends.
    Failed(Failure),
    /// llama.cpp gave up over this, and the process ends.
    GaveUp(String),
    Beat(Beat),
    Event(Id, Event),
    Reply(Id, Result<Reply, Failure>),
}

/// A sign of life.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Beat {
    pub n_running: usize,
    pub n_waiting: usize,
    /// Since the last tick, while there is something to do.
    pub age: Duration,
    pub slots: Vec<SlotHealth>,
}

/// What tells a frame from talk.
const BEGIN: &[u8] = b"{\"engine\":";

#[derive(Serialize, Deserialize)]
struct Line<F> {
    engine: F,
}

impl Frame {
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"\n")?;
        serde_json::to_writer(&mut *out, &Line { engine: self })?;
        out.write_all(b"\n")
    }

    /// The frame on a line; `None` where that is talk.
    pub fn read(line: &[u8]) -> Option<Result<Self, serde_json::Error>> {
        line.starts_with(BEGIN).then(|| serde_json::from_slice(line).map(|Line { engine }| engine))
    }
}

/// A command or set-up as a line.
pub(super) fn line(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// What a command holds.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    use crate::generate::event::Kind;

    serde_json::from_value(value).map_err(|error| {
        let hint = Some("numbers have to be finite".to_owned());
        Failure { kind: Kind::Request, message: format!("the request cannot be read: {error}"), hint }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::event::Generated;
    use crate::generate::probs::{Logprob, Position, Sides};
    use crate::generate::{Request, event};
    use crate::recipe::Schedule;
    use crate::sampling::Sampling;
    use crate::steer::WeightsRequest;

    fn there_and_back(frame: &Frame) -> Frame {
        let mut bytes = Vec::new();
        frame.write(&mut bytes).expect("memory takes it");
        let line = bytes.trim_ascii();
        assert!(!line.contains(&b'\n'), "one line");
        Frame::read(line).expect("a frame").unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(line)))
    }

    #[test]
    fn numbers_that_are_not_finite_come_through() {
        let logprob = |base: f64| Logprob {
            id: 3,
            bytes: vec![0xe2, 0x82],
            composed: None,
            base,
            pairs: vec![
                Sides { expert: Some(f64::NAN), antiexpert: Some(-base) },
                Sides { expert: None, antiexpert: None },
            ],
        };
        let [chosen, base_top] = [f64::NEG_INFINITY, -1.25].map(logprob);
        let (top, divergence) = (vec![logprob(f64::INFINITY)], Some(f64::INFINITY));
        let position = Position { top, chosen, base_top, changed: true, divergence };
        let frame = Frame::Event(
            9,
            Event::Token(Generated { token: 3, text: "\u{2028}\n".to_owned(), place: 2, position: Some(position) }),
        );
        // NaN equals nothing, itself included.
        assert_eq!(format!("{:?}", there_and_back(&frame)), format!("{frame:?}"));
    }

    #[test]
    fn a_request_that_cannot_be_read_still_has_an_id() {
        let sampling = Sampling { temp: f32::NAN, ..Sampling::default() };
        let weights = WeightsRequest { alpha: vec![Schedule::constant(f32::INFINITY)], ..WeightsRequest::default() };
        for request in [Request { sampling, ..Request::default() }, Request { weights, ..Request::default() }] {
            let line = line(&Command::<_, ()>::Submit { id: 5, ensemble: 1, request }).expect("JSON");
            let Unread::Submit { id: 5, ensemble: 1, request } = serde_json::from_slice(&line).expect("a command")
            else {
                panic!("{}", String::from_utf8_lossy(&line));
            };
            let failure = read::<Request>(request).expect_err("no number");
            assert_eq!(failure.kind, event::Kind::Request);
        }
    }

    #[test]
    fn a_request_comes_through_as_it_was() {
        let weights = WeightsRequest { alpha: vec!["1@0..0.1@64".parse().expect("α")], ..WeightsRequest::default() };
        let sampling = Sampling { temp: 0.1, logit_bias: vec![(7, f32::NEG_INFINITY)], ..Sampling::default() };
        let request = Request { weights, sampling, n_predict: Some(4), ..Request::prompt("x\n") };
        let line = line(&Command::<_, ()>::Submit { id: 0, ensemble: 0, request: &request }).expect("JSON");
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "one line");
        let Unread::Submit { request: back, .. } = serde_json::from_slice(&line).expect("a command") else {
            panic!("{}", String::from_utf8_lossy(&line));
        };
        assert_eq!(read::<Request>(back).expect("a request"), request);
    }

    #[test]
    fn steering_comes_through_and_one_that_cannot_be_read_has_an_id() {
        let there_and_back = |weights: &WeightsRequest| {
            let line = line(&Command::<(), (), _>::Steer { id: 4, weights }).expect("JSON");
            let Unread::Steer { id: 4, weights } = serde_json::from_slice(&line).expect("a command") else {
                panic!("{}", String::from_utf8_lossy(&line));
            };
            read::<WeightsRequest>(weights)
        };
        let pairs = [("style".to_owned(), "1@0..0.1@64".parse().expect("α"))].into();
        let weights = WeightsRequest { alpha: vec![Schedule::constant(0.1)], pairs, ..WeightsRequest::default() };
        assert_eq!(there_and_back(&weights), Ok(weights));
        let weights = WeightsRequest { alpha: vec![Schedule::constant(f32::NAN)], ..WeightsRequest::default() };
        assert_eq!(there_and_back(&weights).expect_err("no number").kind, event::Kind::Request);
    }

    #[test]
    fn talk_is_no_frame() {
        for line in ["", "loading", "{\"level\":3}", "{", " {\"engine\":"] {
            assert!(Frame::read(line.as_bytes()).is_none(), "{line}");
        }
        assert!(Frame::read(b"{\"engine\":{\"bea").is_some_and(|frame| frame.is_err()), "a frame that broke off");
    }
}
