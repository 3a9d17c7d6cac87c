//! Requests to the hub: redirects, the token, statuses.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::BodyReader;
use ureq::http::{HeaderMap, header};

use super::patience::{Patience, Tries};
use super::progress::{Listener, Stage};
use super::url::Url;
use super::{Error, Wanted};

const MAX_REDIRECTS: usize = 5;
const MAX_JSON: u64 = 16 << 20;
const USER_AGENT: &str = concat!("proxytune/", env!("CARGO_PKG_VERSION"));

#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    pub endpoint: Url,
    token: Option<Token>,
    pub patience: Patience,
}

/// Not for eyes.
#[derive(Clone)]
struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The answer behind all redirects.
pub(super) struct Answer {
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: BodyReader<'static>,
}

impl Answer {
    pub fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reading failed, or the body ended too early.
    pub fn cut(&self, what: impl fmt::Display) -> Error {
        Error::Cut { url: self.url.to_string(), what: what.to_string() }
    }
}

impl Client {
    pub fn new(endpoint: Url, token: Option<String>, patience: Patience) -> Result<Self, Error> {
        if token.as_ref().is_some_and(|token| token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            let expected = "printable ASCII without spaces";
            return Err(Error::Setting { name: "the token (HF_TOKEN)", value: "(not shown)".to_owned(), expected });
        }
        Ok(Self { agent: agent(&patience), endpoint, token: token.map(Token), patience })
    }

    pub fn with_token(self, token: &str) -> Result<Self, Error> {
        Self::new(self.endpoint, Some(token.to_owned()), self.patience)
    }

    pub fn with_patience(self, patience: Patience) -> Self {
        Self { agent: agent(&patience), patience, ..self }
    }

    #[cfg(test)]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The bytes from `start` on, through redirects. Any status but a redirect's is an answer; the token goes to the
    /// hub's own origin only, and unencrypted to this machine alone. `limit` bounds the time of the whole body.
    pub fn get(&self, url: &Url, start: u64, limit: Option<Duration>) -> Result<Answer, Error> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(url.uri()).config().timeout_recv_body(limit).build();
            if let Some(Token(token)) = self.token.as_ref().filter(|_| url.is_same_origin(&self.endpoint)) {
                if !url.is_private() {
                    return Err(Error::PlainToken { hub: self.endpoint.to_string() });
                }
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if start > 0 {
                request = request.header(header::RANGE, format!("bytes={start}-"));
            }
            let (head, body) = request.call().map_err(|error| failure(&url, &error))?.into_parts();
            let answer = Answer { status: head.status.as_u16(), headers: head.headers, body: body.into_reader(), url };
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let location = answer.header(header::LOCATION);
            let location = location.ok_or_else(|| Error::Refused(format!("{} leads nowhere", answer.url)))?;
            url = answer.url.join(location)?;
        }
        Err(Error::Refused(format!("more than {MAX_REDIRECTS} redirects, the last one to {url}")))
    }

    /// A JSON answer with its headers, asked for again while failures pass.
    pub fn json<T: DeserializeOwned>(
        &self,
        url: &Url,
        wanted: &Wanted,
        report: &mut Listener,
    ) -> Result<(T, HeaderMap), Error> {
        let mut tries = Tries::new(&self.patience);
        loop {
            report.tell(Stage::Listing)?;
            match self.json_once(url, wanted) {
                Err(error) => tries.wait(error, report)?,
                done => return done,
            }
        }
    }

    fn json_once<T: DeserializeOwned>(&self, url: &Url, wanted: &Wanted) -> Result<(T, HeaderMap), Error> {
        let mut answer = self.get(url, 0, Some(self.patience.listing))?;
        if answer.status != 200 {
            return Err(self.fault(&answer, &wanted.to_string()));
        }
        let mut text = Vec::new();
        let read = (&mut answer.body).take(MAX_JSON + 1).read_to_end(&mut text);
        read.map_err(|error| answer.cut(error))?;
        if text.len() as u64 > MAX_JSON {
            return Err(Error::Refused(format!("{} is longer than {MAX_JSON} bytes", answer.url)));
        }
        let value = serde_json::from_slice(&text)
            .map_err(|error| Error::Refused(format!("{} is not what a hub says: {error}", answer.url)))?;
        Ok((value, answer.headers))
    }

    /// The error that an answer's status stands for.
    pub fn fault(&self, answer: &Answer, wanted: &str) -> Error {
        let url = answer.url.to_string();
        let is_hub = answer.url.is_same_origin(&self.endpoint);
        match answer.status {
            status @ (401 | 403) if is_hub => {
                let said = answer.headers.get("x-error-message").and_then(|said| said.to_str().ok());
                let said = said.map(|said| said.chars().take(200).collect());
                Error::Denied { wanted: wanted.to_owned(), status, had_token: self.token.is_some(), said }
            }
            404 if is_hub => Error::NotFound { wanted: wanted.to_owned(), hub: self.endpoint.to_string() },
            status => {
                let seconds = answer.header(header::RETRY_AFTER).and_then(|value| value.trim().parse().ok());
                Error::Status { url, status, retry_after: seconds.map(Duration::from_secs) }
            }
        }
    }
}

fn agent(patience: &Patience) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(USER_AGENT)
        // A length or range of a packed body would not be the file's.
        .accept_encoding("identity")
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.stall))
        .timeout_per_read(Some(patience.stall))
        .timeout_per_write(Some(patience.stall));
    config.build().into()
}

fn failure(url: &Url, error: &ureq::Error) -> Error {
    let (url, what) = (url.to_string(), error.to_string());
    match error {
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => Error::Cut { url, what },
        ureq::Error::Protocol(_) => Error::Refused(format!("{url} does not speak HTTP: {what}")),
        _ => Error::Unreachable { url, what },
    }
}
