//! A request in the engine as a stream of events. One whose reader goes away is cancelled.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::app::App;
use super::error::Error;
use super::job::Job;
use crate::engine::Id;
use crate::generate::Event;

/// The events of one request, until the last. What it holds is bounded by what the context does.
pub struct Running {
    app: Arc<App>,
    id: Id,
    events: UnboundedReceiver<Event>,
    has_ended: bool,
}

impl Running {
    /// Hands a job to the engine.
    pub fn start(app: &Arc<App>, job: Job) -> Result<Self, Error> {
        let (sender, events) = unbounded_channel();
        let listener = Box::new(move |event| sender.send(event).is_ok());
        let id = app.engine.submit_with(job.ensemble, job.request, listener)?;
        app.metrics.add_request();
        Ok(Self { app: app.clone(), id, events, has_ended: false })
    }

    /// Hands several jobs to the engine, all or none.
    pub fn start_all(app: &Arc<App>, jobs: Vec<Job>) -> Result<Vec<Self>, Error> {
        // Those that were started are cancelled where a later one is refused.
        jobs.into_iter().map(|job| Self::start(app, job)).collect()
    }
}

impl Stream for Running {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let polled = self.events.poll_recv(context);
        if let Poll::Ready(event) = &polled {
            self.has_ended = event.as_ref().is_none_or(Event::is_last);
            if let Some(event) = event {
                self.app.metrics.add(event);
            }
        }
        polled
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended {
            self.app.engine.cancel(self.id);
        }
    }
}
