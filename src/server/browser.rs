//! Pages in a browser that reach for this server: which of them may.
//!
//! A page of any site can send requests to a server on the same machine. The browser shows it the answers only if the server
//! allows its origin, but the request was answered; and a site whose name resolves to 127.0.0.1 is of the same origin as the
//! server that it finds there. So a request is refused here that has a name in `Host` which is not this server's, or that
//! changes or computes something on behalf of another origin. Programs send no `Origin`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderValue, Method, Uri, Version};
use axum::middleware::Next;
use axum::response::Response;

use super::app::App;
use super::error::{Error, ErrorKind};
use super::hosts;

/// Refuses what a page asks for that may not.
pub async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, Error> {
    let (headers, settings) = (request.headers(), &app.settings);
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (request.uri().authority(), hosts.next(), hosts.next()) {
        (_, Some(_), Some(_)) => return Err(Error::new(ErrorKind::Invalid, "the header `Host` is there twice")),
        // What a request's line says goes before the header.
        (Some(authority), ..) => Some(authority.as_str().to_owned()),
        (None, Some(host), None) => Some(text(host)),
        (None, None, _) if request.version() < Version::HTTP_11 => None,
        (None, None, _) => return Err(Error::new(ErrorKind::Invalid, "the header `Host` is missing")),
    };
    if let Some(host) = host.as_ref().filter(|host| !settings.hosts.allow(host)) {
        let message = format!("{host:?} is no name of this server; --allowed-hosts {} makes it one", hosts::name(host));
        return Err(Error::new(ErrorKind::Forbidden, message));
    }
    let is_harmless = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let is_own = |origin: &HeaderValue| {
        let authority = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        let authority = authority.and_then(|origin| Some(origin.authority()?.as_str().to_ascii_lowercase()));
        authority.is_some() && authority == host.as_deref().map(str::to_ascii_lowercase)
    };
    if let Some(origin) = headers.get(ORIGIN).filter(|_| !is_harmless)
        && !is_own(origin)
        && !settings.origins.allow(origin)
    {
        let message = format!("pages of {0:?} may not use this server; --cors-origins {0} lets them", text(origin));
        return Err(Error::new(ErrorKind::Forbidden, message));
    }
    Ok(next.run(request).await)
}
