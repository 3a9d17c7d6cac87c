//! The page at `/`: files of this program, which ask for nothing but this server.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::error::{Error, ErrorKind};

/// Scripts, styles and requests of this origin alone, nothing written into the page, no HTML made of text, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'self'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // The next version of the program has other files under the same names.
    (CACHE_CONTROL, "no-cache"),
];

macro_rules! files {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("page/", $name)))),*] };
}

/// What the page is made of, beside `index.html`.
const FILES: [(&str, &str); 28] = files![
    "answer-summary.js",
    "answer-text.js",
    "answer-view.js",
    "answer.js",
    "api.js",
    "candidates.js",
    "columns.js",
    "conversation.js",
    "dialogs.js",
    "dom.js",
    "icon.svg",
    "library.js",
    "main.js",
    "parameters.js",
    "request.js",
    "schedule-editor.js",
    "schedule.js",
    "served.js",
    "settings.js",
    "snippets.js",
    "status.js",
    "store.js",
    "strip.js",
    "style.css",
    "summary.js",
    "text.js",
    "turns.js",
    "writing.js",
];
const INDEX: &str = include_str!("page/index.html");

/// What a program that asks for `/` is told.
const TO_PROGRAMS: &str = "proxytune serves APIs here: /v1/models has the models, /openapi.json the routes\n";

/// The page, for browsers.
pub async fn index(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let is_browser =
        headers.get(ACCEPT).is_some_and(|accept| accept.to_str().unwrap_or_default().contains("text/html"));
    if !is_browser || !app.settings.page {
        return ([(VARY, "accept")], TO_PROGRAMS).into_response();
    }
    // The paths in it are relative to where the server's begin.
    let html = INDEX.replace("{base}", &format!("{}/", app.settings.prefix));
    (HEADERS, [(CONTENT_TYPE, mime("index.html")), (VARY, "accept")], html).into_response()
}

/// A file of the page.
pub async fn file(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Error> {
    let file = FILES.iter().find(|(known, _)| *known == name).filter(|_| app.settings.page);
    let (name, text) = file.ok_or_else(|| Error::new(ErrorKind::NoSuchPath, format!("there is no /page/{name}")))?;
    Ok((HEADERS, [(CONTENT_TYPE, mime(name))], *text).into_response())
}

fn mime(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        _ => "image/svg+xml",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/page");
        let entries = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").file_name());
        let there: BTreeSet<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        let served = FILES.iter().map(|(name, _)| (*name).to_owned()).chain(["index.html".to_owned()]);
        assert_eq!(there, served.collect());
    }

    #[test]
    fn nothing_in_it_leaves_the_origin() {
        for (name, text) in FILES.iter().chain(&[("index.html", INDEX)]) {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("\"//"), "{name}");
            assert!(!text.contains("innerHTML") && !text.contains("eval("), "{name}");
        }
    }
}
