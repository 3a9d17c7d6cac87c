//! One request on a connection and its answer: who waits for whom meanwhile, and what becomes of a body that nobody reads.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, EXPECT, TRANSFER_ENCODING};
use axum::http::{HeaderValue, Request, Response};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tower::ServiceExt;

use super::clients::{Answering, Client};
use super::error::{Error, ErrorKind};
use super::weight::{Weight, Weights};

/// Of a body that nobody reads so much is thrown away, for so long: a client that still sends would not see the answer.
const MAX_DISCARDED: usize = 64 << 20;
const DISCARDING: Duration = Duration::from_secs(1);

/// Answers a request.
pub async fn answer(
    client: Client,
    weights: Arc<Weights>,
    router: Router,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let answering = client.begin();
    let (weight, left) = (Weight::none(&weights), Left::default());
    let waits_to_send = request.headers().contains_key(EXPECT);
    // Whoever passed it on may have gone by a length beside the chunks, of which nothing is left here: what comes behind is
    // not to be trusted.
    let is_last = request.headers().contains_key(TRANSFER_ENCODING) || client.clients().is_draining();
    let mut request = request.map(|body| Body::new(Sent::new(body, client.clone(), left.clone())));
    request.extensions_mut().insert(weight.clone());
    let mut response = if client.clients().is_draining() {
        drop(request);
        Error::new(ErrorKind::Unavailable, "the server is ending").into_response()
    } else {
        router.oneshot(request).await.unwrap_or_else(|error| match error {})
    };
    let rest = left.take();
    if is_last || waits_to_send && rest.is_some() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(rest) = rest.filter(|_| !waits_to_send) {
        let _ = tokio::time::timeout(DISCARDING, discard(rest)).await;
    }
    Ok(response.map(|body| Body::new(Told { body, _held: (answering, weight) })))
}

/// Reads what is left of a body.
async fn discard(mut body: Incoming) {
    let mut n = 0;
    while let Some(Ok(frame)) = body.frame().await {
        n += frame.data_ref().map_or(0, Bytes::len);
        if n > MAX_DISCARDED {
            return;
        }
    }
}

/// A body that was dropped before its end.
#[derive(Clone, Default)]
struct Left(Arc<Mutex<Option<Incoming>>>);

impl Left {
    fn take(&self) -> Option<Incoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The body of a request.
struct Sent {
    body: Option<Incoming>,
    client: Client,
    left: Left,
}

impl Sent {
    fn new(body: Incoming, client: Client, left: Left) -> Self {
        client.awaits_body(!body.is_end_stream());
        Self { body: Some(body), client, left }
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(context);
        let has_ended = matches!(polled, Poll::Ready(None | Some(Err(_)))) || body.is_end_stream();
        if has_ended {
            self.body = None;
            self.client.awaits_body(false);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let body = self.body.take().filter(|body| !body.is_end_stream());
        if body.is_some() {
            self.client.awaits_body(false);
            *self.left.0.lock().unwrap_or_else(PoisonError::into_inner) = body;
        }
    }
}

/// The body of an answer; the request is being answered until it has ended.
struct Told {
    body: Body,
    _held: (Answering, Weight),
}

impl hyper::body::Body for Told {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
