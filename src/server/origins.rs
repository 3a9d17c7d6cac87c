//! Sites whose pages may use the server.

use axum::http::{HeaderName, HeaderValue};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

/// Origins whose pages may use a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    Any,
    /// As browsers send them.
    Only(Vec<HeaderValue>),
}

impl Default for Origins {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl Origins {
    /// `*`, or a list of them; the error is one that is no origin.
    pub fn of<'a>(list: &'a [String]) -> Result<Self, &'a str> {
        if list.iter().any(|origin| origin == "*") {
            return Ok(Self::Any);
        }
        let of = |origin: &'a String| {
            let rest = origin.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, rest)| rest);
            let is_origin = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('/')) || origin == "null";
            let value = HeaderValue::from_str(&origin.to_ascii_lowercase()).ok();
            value.filter(|_| is_origin).ok_or(origin.as_str())
        };
        list.iter().map(of).collect::<Result<_, _>>().map(Self::Only)
    }

    pub fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Only(origins) => origins.contains(origin),
        }
    }

    /// Lets their pages read answers; without origins nobody's.
    #[must_use]
    pub fn layer(&self) -> Option<CorsLayer> {
        let allowed = match self {
            Self::Any => AllowOrigin::any(),
            Self::Only(origins) if origins.is_empty() => return None,
            Self::Only(origins) => AllowOrigin::list(origins.iter().cloned()),
        };
        // `*` does not stand for `Authorization`.
        let cors =
            CorsLayer::new().allow_origin(allowed).allow_methods(Any).allow_headers(AllowHeaders::mirror_request());
        Some(cors.allow_private_network(true).expose_headers([HeaderName::from_static("retry-after")]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_whole_or_refused() {
        let of = |list: &[&str]| Origins::of(&list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).is_ok();
        assert!(of(&[]) && of(&["*"]) && of(&["https://a.example", "http://localhost:3000", "null"]));
        assert!(of(&["chrome-extension://abc"]));
        for wrong in ["a.example", "https://", "https://a.example/", "https://a.example/path", "://x", "https://a\n"] {
            assert!(!of(&[wrong]), "{wrong}");
        }
    }
}
