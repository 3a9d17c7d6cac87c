//! A request in the engine as a stream of events. One whose reader goes away is cancelled.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::Stream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::app::App;
use super::error::Error;
use super::job::Job;
use super::metrics::Watched;
use super::replies::{Listed, Text};
use crate::engine::Id;
use crate::generate::{Event, Finish};

/// The events of one request, until the last. What it holds is bounded by what the context does.
pub struct Running {
    app: Arc<App>,
    id: Id,
    events: UnboundedReceiver<Event>,
    has_ended: bool,
    /// The engine has told the last event, taken or not.
    is_over: Arc<AtomicBool>,
    listed: Option<Listed>,
    watched: Watched,
    limit: Limit,
}

/// The time that a text may take.
#[derive(Debug, Default)]
struct Limit {
    time: Option<Duration>,
    /// Since its first token.
    since: Option<Instant>,
    is_over: bool,
}

impl Limit {
    /// Whether a line ends with this text, and the time has passed.
    fn ends_with(&mut self, text: &str) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.is_over |= text.contains('\n') && self.time.is_some_and(|time| since.elapsed() > time);
        self.is_over
    }
}

impl Running {
    /// Hands a job to the engine.
    pub fn start(app: &Arc<App>, job: Job) -> Result<Self, Error> {
        let (sender, events) = unbounded_channel();
        let is_over = Arc::<AtomicBool>::default();
        let listener = {
            let is_over = is_over.clone();
            Box::new(move |event: Event| {
                is_over.fetch_or(event.is_last(), Ordering::Relaxed);
                sender.send(event).is_ok()
            })
        };
        let watched = Watched::default();
        let id = app.engine.submit_with(job.ensemble, job.request, listener)?;
        let limit = Limit { time: job.time_limit, ..Limit::default() };
        Ok(Self { app: app.clone(), id, events, has_ended: false, is_over, listed: None, watched, limit })
    }

    /// Hands several jobs to the engine, all or none.
    pub fn start_all(app: &Arc<App>, jobs: Vec<Job>) -> Result<Vec<Self>, Error> {
        // Those that were started are cancelled where a later one is refused.
        jobs.into_iter().map(|job| Self::start(app, job)).collect()
    }

    /// Can be steered from now on, as a text of this reply, until it ends or its reader goes.
    #[must_use]
    pub fn listed(mut self, reply: &str, model: &str) -> Self {
        let text = Text { id: self.id, is_over: self.is_over.clone() };
        self.listed = Some(self.app.replies.add(reply, model, text));
        self
    }
}

impl Stream for Running {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        loop {
            let polled = self.events.poll_recv(context);
            let Poll::Ready(event) = polled else { return Poll::Pending };
            self.has_ended = event.as_ref().is_none_or(Event::is_last);
            if self.has_ended {
                self.listed = None;
            }
            let Some(mut event) = event else { return Poll::Ready(None) };
            let this = &mut *self;
            this.app.metrics.add(&mut this.watched, &event);
            match &mut event {
                // What is written until the engine has heard of it is not told.
                Event::Token(_) if this.limit.is_over => continue,
                Event::Token(token) if this.limit.ends_with(&token.text) => this.app.engine.cancel(this.id),
                Event::Done(done) if this.limit.is_over => {
                    (done.finish, done.stopped_by, done.text) = (Finish::Length, None, String::new());
                }
                _ => {}
            }
            return Poll::Ready(Some(event));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended {
            self.app.engine.cancel(self.id);
        }
    }
}
