//! Listening, from the first connection to an end in order.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServerArgs;
use super::settings::hosts;
use crate::cli::report::Hinted;
use crate::cli::terminal::say;
use crate::cli::{Done, progress};
use crate::engine::process::{Child, Setup};
use crate::engine::{Handle, State};
use crate::server::catalog::Model;
use crate::server::{self, App, Catalog, Settings};

/// How often it is looked whether the engine is still there.
const LOOK: Duration = Duration::from_millis(50);
/// At a second ctrl-C, readers are told why nothing more comes within this time.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Serves until it is asked to end, or the engine cannot be loaded.
pub async fn listen(args: &ServerArgs, mut settings: Settings, catalog: Catalog, setup: Setup) -> Result<Done> {
    let listener = bind(&args.host, args.port).await?;
    let address = listener.local_addr()?;
    settings.hosts = hosts(address, args);
    warn_if_open(address, &settings);
    let mut signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    let engine = Handle::supervise(Child::proxytune(std::env::current_exe()?), setup)?;
    let ids: Vec<_> = catalog.models().map(Model::id).collect();
    let drain = settings.drain.as_secs();
    let app = Arc::new(App::new(engine.clone(), catalog, settings));
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let mut serving = tokio::spawn(server::serve(listener, app.clone(), async {
        let _ = ended.await;
    }));
    say!("listening on http://{address}");
    if !args.no_webui {
        let page = page(address, &app.settings.prefix);
        say!("see it steer: {page}");
        if args.open {
            open(&page);
        }
    }
    tokio::select! {
        failed = attend(&engine, &ids) => return Err(failed),
        () = asked_to_end(&mut signals) => {}
    }
    say!("ending: answers that are still being written have {drain} s; ctrl-C again ends them now");
    let _ = end.send(());
    tokio::select! {
        _ = &mut serving => {
            engine.kill();
            return Ok(Done::Fine);
        }
        () = asked_to_end(&mut signals) => engine.kill(),
    }
    let _ = tokio::time::timeout(LAST_WORDS, serving).await;
    Ok(Done::Interrupted)
}

/// Where a browser on this machine finds the page.
fn page(address: SocketAddr, prefix: &str) -> String {
    let port = address.port();
    match address.ip() {
        ip if ip.is_unspecified() => format!("http://localhost:{port}{prefix}/"),
        _ => format!("http://{address}{prefix}/"),
    }
}

/// Opens it in the browser that the system prefers.
fn open(page: &str) {
    if let Err(error) = open::that_detached(page) {
        say!("warning: no browser can be opened here ({error}): go to {page}");
    }
}

async fn bind(host: &str, port: u16) -> Result<TcpListener> {
    let error = match TcpListener::bind((host, port)).await {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    let hint = match error.kind() {
        ErrorKind::AddrInUse => "another program has the port: --port N takes another, --port 0 a free one",
        ErrorKind::PermissionDenied => "ports below 1024 are for the system: --port 8080 is none of them",
        _ => "--host takes an address of this machine: 127.0.0.1 for itself alone, 0.0.0.0 for all that it has",
    };
    Err(anyhow!("cannot listen on {host}:{port}: {error}")).hint(hint)
}

/// Waits for ctrl-C, or for the signal of service managers.
async fn asked_to_end([interrupt, terminate]: &mut [Signal; 2]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Tells how the engine fares, until there is none any more: why.
async fn attend(engine: &Handle, ids: &[String]) -> anyhow::Error {
    let mut bar = progress::Loading::default();
    let (mut is_ready, mut n_deaths) = (false, 0);
    loop {
        let health = engine.health();
        let is_down = matches!(health.state, State::Down { .. });
        let n = health.n_restarts + usize::from(is_down);
        if let Some(failure) = health.last_failure.filter(|_| n > n_deaths && !health.has_ended) {
            say!("error: {failure}");
            (is_ready, n_deaths) = (false, n);
        }
        match health.state {
            State::Loading { what, share } if !what.is_empty() => bar.report_of(&what, share),
            State::Ready(_) if !is_ready => {
                bar = progress::Loading::default();
                is_ready = true;
                say!("ready: {}", ids.join(", "));
            }
            State::Down { failure } if health.has_ended => return failure.into(),
            _ => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn warn_if_open(address: SocketAddr, settings: &Settings) {
    if !address.ip().is_loopback() && settings.api_keys.is_empty() {
        say!("warning: everybody who can reach {address} may use this server; --api-key KEY asks them for a key");
    }
}
