//! Streams: events of texts in one dialect's frames.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, SelectAll};
use futures_util::{Stream, StreamExt};

use super::error::Error;
use super::running::Running;
use crate::generate::Event;

/// One event of a stream: its name, where the dialect has names, and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub name: Option<&'static str>,
    pub data: String,
}

#[allow(clippy::needless_pass_by_value, reason = "what is told is made for it")]
impl Frame {
    pub fn data(data: impl ToString) -> Self {
        Self { name: None, data: data.to_string() }
    }

    pub fn named(name: &'static str, data: impl ToString) -> Self {
        Self { name: Some(name), data: data.to_string() }
    }
}

/// How a route tells of texts while they are written.
pub trait Dialect: Send + 'static {
    /// What there is to tell of an event of text `i`. Failures are told by [`Self::failed`].
    fn event(&mut self, i: usize, event: Event) -> Vec<Frame>;
    /// What is told when all texts have ended.
    fn end(&mut self) -> Vec<Frame>;
    /// What is told when one has failed; nothing comes behind it.
    fn failed(&mut self, error: &Error) -> Vec<Frame>;
    /// What a stream that is silent for long tells; `None` for a comment.
    fn ping() -> Option<Frame> {
        None
    }
}

type Indexed = SelectAll<Pin<Box<dyn Stream<Item = (usize, Event)> + Send>>>;

/// Waits until a text has its place, so that what cannot be run is told by a status, and then streams.
pub async fn respond<D: Dialect>(
    running: Vec<Running>,
    mut dialect: D,
    ping: Option<Duration>,
) -> Result<Response, Error> {
    let (first, events) = begin(running, &mut dialect).await?;
    let frames = frames(first, events, dialect);
    let sse = Sse::new(frames.map(|frame| Ok::<_, Infallible>(event(frame))));
    let Some(interval) = ping else { return Ok(sse.into_response()) };
    let keep_alive = KeepAlive::new().interval(interval);
    let keep_alive = match D::ping() {
        Some(frame) => keep_alive.event(event(frame)),
        None => keep_alive,
    };
    Ok(sse.keep_alive(keep_alive).into_response())
}

fn event(Frame { name, data }: Frame) -> sse::Event {
    // Clients that read line by line want the name first.
    let event = match name {
        Some(name) => sse::Event::default().event(name),
        None => sse::Event::default(),
    };
    event.data(data)
}

/// The same as one JSON object a line.
pub async fn respond_in_lines(running: Vec<Running>, mut dialect: impl Dialect) -> Result<Response, Error> {
    let (first, events) = begin(running, &mut dialect).await?;
    let lines = frames(first, events, dialect).map(|frame| Ok::<_, Infallible>(frame.data + "\n"));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// Waits for the first event: more texts than there are slots begin one after the other, and each is told as it comes.
async fn begin(running: Vec<Running>, dialect: &mut impl Dialect) -> Result<(Vec<Frame>, Indexed), Error> {
    let indexed = running.into_iter().enumerate().map(|(i, one)| one.map(move |event| (i, event)).boxed());
    let mut events: Indexed = stream::select_all(indexed);
    match events.next().await {
        Some((_, Event::Failed(failed))) => Err(failed.failure.into()),
        Some((i, event)) => Ok((dialect.event(i, event), events)),
        None => Ok((Vec::new(), events)),
    }
}

/// Frames as they come. The texts are cancelled when nobody takes them any more.
fn frames(first: Vec<Frame>, events: Indexed, dialect: impl Dialect) -> impl Stream<Item = Frame> + Send {
    let behind = stream::unfold(Some((events, dialect)), |state| async move {
        let (mut events, mut dialect) = state?;
        Some(match events.next().await {
            Some((_, Event::Failed(failed))) => (dialect.failed(&failed.failure.into()), None),
            Some((i, event)) => (dialect.event(i, event), Some((events, dialect))),
            None => (dialect.end(), None),
        })
    });
    stream::iter(first).chain(behind.flat_map(stream::iter))
}
