//! The accept loop: connections within limits, and an end in order.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::app::App;
use super::clients::{Client, Clients};
use super::exchange;
use super::io::Guarded;
use super::routes;
use super::weight::Weights;

/// Bytes of one request's line and headers, and how many headers.
const MAX_HEADER_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 100;
/// Bodies of all requests together are read up to so many of the longest.
const MAX_LONG_BODIES: usize = 4;
/// ENFILE and EMFILE: the system, or this process, has no room for another file.
const FULL: [i32; 2] = [23, 24];
/// Before a connection is taken again, where one could not be.
const PAUSE: Duration = Duration::from_millis(10);
/// What is written is sent within this time at the end, or is not.
const FLUSHING: Duration = Duration::from_secs(2);

/// Serves until `ended`; then takes no more connections, refuses requests on those that there are, and lets what is being
/// answered end, for a while. Streams that have not ended by then end with an error.
pub async fn serve(listener: TcpListener, app: Arc<App>, ended: impl Future<Output = ()>) {
    let clients = Clients::new(app.settings.max_connections);
    tokio::select! {
        never = accept(&listener, &app, &clients) => match never {},
        () = ended => clients.drain(),
    }
    drop(listener);
    if tokio::time::timeout(app.settings.drain, clients.quiet()).await.is_err() {
        app.engine.kill();
    }
    let _ = tokio::time::timeout(FLUSHING, clients.close()).await;
}

async fn accept(listener: &TcpListener, app: &Arc<App>, clients: &Arc<Clients>) -> std::convert::Infallible {
    let router = routes::router(app.clone());
    let weights = Weights::new(app.settings.max_body_bytes.saturating_mul(MAX_LONG_BODIES));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Lost before it was taken, or no room for another file: one that is idle has one.
            Err(error) => {
                if error.raw_os_error().is_some_and(|code| FULL.contains(&code)) {
                    clients.evict_one();
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let client = clients.enter().await;
        tokio::spawn(connection(stream, client, weights.clone(), router.clone(), app.settings.read_timeout));
    }
}

/// Requests of one connection, one after the other.
async fn connection(stream: TcpStream, client: Client, weights: Arc<Weights>, router: Router, patience: Duration) {
    let _ = stream.set_nodelay(true);
    let guarded = Guarded::new(stream, client.clone(), patience);
    let service = {
        let client = client.clone();
        service_fn(move |request| exchange::answer(client.clone(), weights.clone(), router.clone(), request))
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // From the end of the last answer, however the bytes come.
        .header_read_timeout(patience)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(2 * MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(guarded), service);
    let mut connection = std::pin::pin!(connection);
    // A client that went away, or sent what is no HTTP, is nobody's error.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = client.evicted() => return,
        () = client.closing() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
