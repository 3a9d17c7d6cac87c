//! Addresses: the hub's own, and those it sends one to.

use std::fmt;
use std::net::IpAddr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Uri;
use ureq::http::uri::Scheme;

use super::Error;

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PLAIN_PATH: &AsciiSet = &PLAIN.remove(b'/');

/// An http or https address with a host and without a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url(Uri);

impl Url {
    /// The address of a hub, to which paths are appended.
    pub fn endpoint(text: &str) -> Result<Self, Error> {
        let trimmed = text.trim_end_matches('/');
        Self::parse(trimmed).filter(|url| url.0.query().is_none() && !text.contains('#')).ok_or_else(|| {
            let expected = "an http:// or https:// address without user, query and fragment";
            Error::Setting { name: "the hub's address (HF_ENDPOINT)", value: without_secrets(text), expected }
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_http = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme());
        let authority = uri.authority()?;
        (is_http && !authority.host().is_empty() && !authority.as_str().contains('@')).then_some(Self(uri))
    }

    /// The address behind the endpoint, e.g. `/api/models/a/b`; `path` is encoded already.
    pub fn below(&self, path: &str) -> Result<Self, Error> {
        let base = self.0.to_string();
        self.join(&format!("{}{path}", base.trim_end_matches('/')))
    }

    /// What a redirect or a link names, seen from here: an address, or one of the same host from `/` on.
    /// https is not left for http.
    pub fn join(&self, location: &str) -> Result<Self, Error> {
        let (scheme, authority) = (self.scheme(), self.0.authority().map_or("", |authority| authority.as_str()));
        let full = match location {
            _ if location.starts_with("//") => format!("{scheme}:{location}"),
            _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
            _ => location.to_owned(),
        };
        let shown: String = without_secrets(location).chars().take(200).collect();
        let refuse = |why: &str| Error::Refused(format!("{self} leads to {shown:?}, {why}"));
        let url = Self::parse(&full).ok_or_else(|| refuse("which is no http or https address"))?;
        if self.is_secure() && !url.is_secure() {
            return Err(refuse("which is not encrypted"));
        }
        Ok(url)
    }

    /// Scheme, host and port: a token is for one of these.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        let origin = |url: &Self| {
            let port = url.0.port_u16().unwrap_or(if url.is_secure() { 443 } else { 80 });
            (url.is_secure(), url.0.host().unwrap_or_default().to_ascii_lowercase(), port)
        };
        origin(self) == origin(other)
    }

    fn is_secure(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// Whether nobody on the way can read along: it is encrypted, or it does not leave this machine.
    pub fn is_private(&self) -> bool {
        let host = self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        self.is_secure() || host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
    }

    fn scheme(&self) -> &str {
        self.0.scheme_str().unwrap_or_default()
    }

    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

/// Without the query, which may hold a signature.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        write!(f, "{}://{authority}{}", self.scheme(), self.0.path().trim_end_matches('/'))
    }
}

/// An address, or what was taken for one, without the places where passwords and tokens stand: the user in front of the
/// host, query and fragment.
fn without_secrets(text: &str) -> String {
    let (scheme, rest) = text.split_at(text.find("://").map_or(0, |at| at + 3));
    let (address, hidden) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let end = if hidden.is_empty() { "" } else { "…" };
    match address.rsplit_once('@') {
        // A password may hold these characters too, and then all that is in front of the `@` is one.
        _ if hidden.contains('@') => format!("{scheme}…"),
        Some((_, host)) => format!("{scheme}…@{host}{end}"),
        None => format!("{scheme}{address}{end}"),
    }
}

/// A path for an address; its slashes stay.
pub(super) fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PLAIN_PATH).to_string()
}

/// One part of a path for an address: slashes are encoded too.
pub(super) fn encode_part(part: &str) -> String {
    utf8_percent_encode(part, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::endpoint(text).expect("an address")
    }

    #[test]
    fn endpoints() {
        assert_eq!(
            url("https://hub.example/hf/").below("/api").expect("valid").to_string(),
            "https://hub.example/hf/api"
        );
        for text in
            ["", "hub", "ftp://hub", "file:///etc", "https://", "https://me:pw@hub", "https://hub?x=1", "https://hub#x"]
        {
            assert!(Url::endpoint(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn redirects() {
        let from = url("https://hub/a");
        for (location, to) in [
            ("https://cdn/x?sig=1", "https://cdn/x"),
            ("//cdn:8443/x", "https://cdn:8443/x"),
            ("/b/c", "https://hub/b/c"),
        ] {
            assert_eq!(from.join(location).expect("allowed").to_string(), to);
        }
        for location in
            ["http://hub/a", "ftp://hub/a", "b/c", "", "https://u@hub/", "https://hub/\u{0}", "javascript:x"]
        {
            assert!(from.join(location).is_err(), "{location:?}");
        }
        assert!(url("http://hub").join("https://hub").is_ok());
    }

    #[test]
    fn secrets_are_not_in_the_words() {
        for (text, shown) in [
            ("https://me:hunter2@hub", "https://…@hub"),
            ("me:hunter2@hub/x", "…@hub/x"),
            ("https://me:p@hunter2@hub", "https://…@hub"),
            ("https://hub?token=hunter2", "https://hub…"),
            ("https://hub#hunter2", "https://hub…"),
            ("ftp://me:hunter2@hub?x=hunter2#y", "ftp://…@hub…"),
            ("https://me:hunter2#@hub", "https://…"),
        ] {
            let error = Url::endpoint(text).expect_err(text).to_string();
            assert!(!error.contains("hunter2") && error.contains(shown), "{error}");
        }
        let error = url("https://hub").join("https://me:hunter2@hub/a?sig=hunter2").expect_err("a user").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_stays_on_this_machine_needs_no_encryption() {
        for text in [
            "https://hub",
            "http://localhost:8000",
            "http://LOCALHOST",
            "http://127.0.0.1:1",
            "http://127.9.9.9",
            "http://[::1]:1",
        ] {
            assert!(url(text).is_private(), "{text}");
        }
        for text in ["http://hub", "http://127.0.0.1.evil", "http://localhost.evil", "http://10.0.0.1", "http://[::2]"]
        {
            assert!(!url(text).is_private(), "{text}");
        }
    }

    #[test]
    fn origins() {
        assert!(url("https://hub").is_same_origin(&url("https://HUB:443/x")));
        for other in ["https://hub:444", "http://hub:443", "https://hub.evil", "https://hub2"] {
            assert!(!url("https://hub").is_same_origin(&url(other)), "{other}");
        }
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encode_path("Q4/a b%#é.gguf"), "Q4/a%20b%25%23%C3%A9.gguf");
        assert_eq!(encode_part("refs/pr/1"), "refs%2Fpr%2F1");
    }
}
