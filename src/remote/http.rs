//! Requests to a server: JSON out and in, sent again with growing waits while failures pass.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::wire::{Answer, Fault, Wire};
use super::{Error, Secret};

/// The wait before the third try; the second comes at once, since a server may close a connection that was idle.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const MAX_WAIT: Duration = Duration::from_secs(16);
/// Of what a server says to explain itself, in characters.
const MAX_SAID: usize = 300;

/// How long a server is waited for, and how often it is asked again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub timeout: Duration,
    pub n_retries: u32,
}

/// Where a server is, and how it is asked.
#[derive(Debug)]
pub(super) struct Http {
    /// Without a slash at its end.
    root: String,
    key: Option<Secret>,
    patience: Patience,
    wire: Wire,
}

impl Http {
    pub fn new(url: &str, key: Option<Secret>, patience: Patience) -> Result<Self, Error> {
        // `/v1` is a part of the routes here.
        let root = url.trim_end_matches('/');
        let root = root.strip_suffix("/v1").unwrap_or(root).to_owned();
        if key.is_some() && !is_private(&root) {
            return Err(Error::PlainKey { url: root });
        }
        Ok(Self { wire: Wire::new(patience.timeout)?, root, key, patience })
    }

    /// The server's address, for people.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Sends a request until `read` makes something of the answer, or failures do not pass; how often it was sent again.
    /// No try begins later than twice the timeout after the first.
    pub fn ask<T>(
        &self,
        path: &str,
        body: Option<&Value>,
        read: impl Fn(&Value) -> Result<T, Error>,
    ) -> (Result<T, Error>, u32) {
        let body = body.map(|body| serde_json::to_vec(body).unwrap_or_default());
        let began = Instant::now();
        let mut n_failed = 0;
        loop {
            let error = match self.once(path, body.as_deref()).and_then(|value| read(&value)) {
                Ok(done) => return (Ok(done), n_failed),
                Err(error) => error,
            };
            let backoff = match n_failed {
                0 if matches!(error, Error::Cut { .. }) => Duration::ZERO,
                n => FIRST_WAIT.saturating_mul(1 << n.min(16)).min(MAX_WAIT),
            };
            n_failed += 1;
            let wait = backoff.max(error.retry_after());
            let is_late = began.elapsed() + wait > self.patience.timeout.saturating_mul(2);
            if !error.is_passing() || n_failed > self.patience.n_retries || is_late {
                let error = match n_failed {
                    1 => error,
                    n_tries => Error::GaveUp { n_tries, source: Box::new(error) },
                };
                return (Err(error), n_failed - 1);
            }
            std::thread::sleep(wait);
        }
    }

    /// What cannot be read as it should. It may repeat what the server said.
    pub fn garbage(&self, what: impl Into<String>) -> Error {
        Error::Garbage { url: self.root.clone(), what: self.shown(&what.into()) }
    }

    /// A text of the server's: without its key, without control characters, and short.
    pub fn shown(&self, text: &str) -> String {
        let text = self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.hidden_in(text));
        crate::plain::plain(text.trim()).replace('\n', " ").chars().take(MAX_SAID).collect()
    }

    fn once(&self, path: &str, body: Option<&[u8]>) -> Result<Value, Error> {
        let key = self.key.as_ref().map(Secret::bearer);
        let sent = self.wire.send(&format!("{}{path}", self.root), key.as_deref(), body);
        let Answer { status, retry_after, text } = sent.map_err(|fault| self.failure(fault))?;
        if status == 200 {
            return serde_json::from_slice(&text)
                .map_err(|error| self.garbage(format!("what is no JSON ({error}): {}", self.said(&text))));
        }
        let (url, said) = (self.root.clone(), self.said(&text));
        Err(match status {
            401 | 403 => Error::Denied { url, status, had_key: self.key.is_some(), said },
            _ => Error::Status { url, status, said, retry_after },
        })
    }

    /// The server's own words: the message of its error object, or what it wrote.
    fn said(&self, text: &[u8]) -> String {
        let object: Option<Value> = serde_json::from_slice(text).ok();
        let message = object.as_ref().and_then(|object| {
            let error = object.get("error").unwrap_or(object);
            error.get("message").or(error.get("detail")).unwrap_or(error).as_str()
        });
        let words = message.map_or_else(|| String::from_utf8_lossy(text).into_owned(), str::to_owned);
        self.shown(&words)
    }

    fn failure(&self, fault: Fault) -> Error {
        let url = self.root.clone();
        match fault {
            Fault::TimedOut => Error::TimedOut { url, waited: self.patience.timeout },
            Fault::Cut(what) => Error::Cut { url, what },
            Fault::NotHttp(what) => Error::Garbage { url, what },
            Fault::Unreachable(what) => Error::Unreachable { url, what },
        }
    }
}

/// Whether a key may be sent there: encrypted, or no further than a network of one's own.
fn is_private(root: &str) -> bool {
    let Some(rest) = root.strip_prefix("http://") else { return true };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.unwrap_or_default();
    let is_own = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leaves_ones_own_network_encrypted_alone() {
        for root in [
            "https://a.example",
            "http://127.0.0.1:8080",
            "http://localhost",
            "http://[::1]:80/x",
            "http://10.0.0.1:80",
        ] {
            assert!(is_private(root), "{root}");
        }
        for root in ["http://a.example", "http://8.8.8.8:80", "http://localhost.example"] {
            assert!(!is_private(root), "{root}");
        }
    }
}
