//! One request and its answer.

use std::time::Duration;

#[cfg(not(feature = "remote"))]
pub(super) use absent::Wire;
#[cfg(feature = "remote")]
pub(super) use there::Wire;

/// What came back, whatever its status.
pub(super) struct Answer {
    pub status: u16,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    pub text: Vec<u8>,
}

/// Why nothing came back.
#[cfg_attr(not(feature = "remote"), allow(dead_code, reason = "nobody asks"))]
pub(super) enum Fault {
    TimedOut,
    Cut(String),
    NotHttp(String),
    Unreachable(String),
}

#[cfg(feature = "remote")]
mod there {
    use std::io::ErrorKind;
    use std::time::Duration;

    use ureq::Error;
    use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};

    use super::super::workers::MAX_WORKERS;
    use super::{Answer, Fault};

    /// A whole vocabulary's log-probabilities take some 20 MB of JSON.
    const MAX_BYTES: u64 = 256 << 20;
    const CONNECT: Duration = Duration::from_secs(15);

    /// Connections that are kept open.
    #[derive(Debug)]
    pub struct Wire(ureq::Agent);

    impl Wire {
        #[allow(clippy::unnecessary_wraps, reason = "a build without this feature has none")]
        pub fn new(timeout: Duration) -> Result<Self, super::super::Error> {
            let config = ureq::Agent::config_builder()
                .max_redirects(0)
                .http_status_as_error(false)
                .user_agent(concat!("proxytune/", env!("CARGO_PKG_VERSION")))
                .max_idle_connections_per_host(MAX_WORKERS)
                .timeout_resolve(Some(CONNECT))
                .timeout_connect(Some(CONNECT.min(timeout)))
                .timeout_send_body(Some(timeout))
                .timeout_recv_response(Some(timeout))
                .timeout_recv_body(Some(timeout));
            Ok(Self(config.build().into()))
        }

        /// Asks; with a body it is a POST of JSON.
        pub fn send(&self, url: &str, key: Option<&str>, body: Option<&[u8]>) -> Result<Answer, Fault> {
            let sent = match body {
                None => {
                    let request = self.0.get(url);
                    key.into_iter().fold(request, |request, key| request.header(AUTHORIZATION, key)).call()
                }
                Some(body) => {
                    let request = self.0.post(url).header(CONTENT_TYPE, "application/json");
                    key.into_iter().fold(request, |request, key| request.header(AUTHORIZATION, key)).send(body)
                }
            };
            let mut answer = sent.map_err(|error| fault(&error))?;
            let retry_after =
                answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            let text = answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec().map_err(|error| fault(&error))?;
            Ok(Answer { status: answer.status().as_u16(), retry_after: retry_after.map(Duration::from_secs), text })
        }
    }

    fn fault(error: &Error) -> Fault {
        match error {
            Error::Timeout(_) => Fault::TimedOut,
            Error::Io(source) if source.kind() == ErrorKind::ConnectionRefused => {
                Fault::Unreachable("nobody listens there".to_owned())
            }
            Error::Io(source) => Fault::Cut(source.to_string()),
            Error::Protocol(source) => Fault::NotHttp(format!("what is not HTTP ({source})")),
            Error::BodyExceedsLimit(n) => Fault::NotHttp(format!("more than {n} bytes")),
            other => Fault::Unreachable(other.to_string()),
        }
    }
}

#[cfg(not(feature = "remote"))]
mod absent {
    use std::time::Duration;

    use super::super::Error;
    use super::{Answer, Fault};

    /// There is none.
    #[derive(Debug)]
    pub enum Wire {}

    impl Wire {
        pub fn new(_timeout: Duration) -> Result<Self, Error> {
            Err(Error::NotBuilt)
        }

        pub fn send(&self, _url: &str, _key: Option<&str>, _body: Option<&[u8]>) -> Result<Answer, Fault> {
            match *self {}
        }
    }
}
