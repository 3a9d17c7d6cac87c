//! The key of a server: sent to it, and shown to nobody.

use super::{faulty, tried};
use crate::base_server::{BaseServer, Fault};
use crate::trio::PROMPT;

const KEY: &str = "sk-secret-0123456789";

fn ask(url: &str, more: &[&str], key: Option<&str>) -> (Option<i32>, String, String) {
    let (code, text, said) = tried(&[&["-p", PROMPT, "-n", "2", "--base-url", url], more].concat(), key);
    assert!(!text.contains(KEY) && !said.contains(KEY), "{text} {said}");
    (code, text, said)
}

fn keys(server: &BaseServer) -> Vec<Option<String>> {
    let paths = ["/props", "/v1/models", "/detokenize", "/completion"];
    let requests = paths.iter().flat_map(|path| server.requests(path));
    let mut keys: Vec<_> = requests.map(|request| request.headers.get("authorization").cloned()).collect();
    keys.dedup();
    keys
}

#[test]
fn a_key_goes_with_every_request() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("key");
    std::fs::write(&path, format!("{KEY}\n")).expect("writable");
    let file = ["--base-api-key-file", path.to_str().expect("UTF-8")];
    let server = faulty();
    let bearer = Some(format!("Bearer {KEY}"));
    // What is typed is meant, whatever the environment says.
    for (more, key, sent) in [
        (&[][..], None, None),
        (&[], Some(""), None),
        (&[], Some(KEY), bearer.clone()),
        (&file, None, bearer.clone()),
        (&file, Some("sk-another"), bearer.clone()),
    ] {
        server.clear();
        let (code, _, said) = ask(&server.url, more, key);
        assert_eq!((code, keys(&server)), (Some(0), vec![sent]), "{said}");
    }
}

#[test]
fn a_key_that_is_denied_is_not_shown_even_where_the_server_repeats_it() {
    let server = faulty();
    let echo = r#"{"error": {"message": "Incorrect API key provided: sk-secret-0123456789."}}"#;
    for (status, body, words) in [
        (401, echo, "denies access (HTTP 401): Incorrect API key provided: …."),
        (403, "Bearer sk-secret-0123456789 is blocked", "denies access (HTTP 403): Bearer … is blocked"),
        (500, echo, "HTTP 500: Incorrect API key provided: …."),
        (429, echo, "HTTP 429: Incorrect API key provided: …."),
    ] {
        for path in ["/props", "/completion"] {
            server.clear();
            server.always(path, 0, Fault::Status(status, "", body));
            let (code, _, said) = ask(&server.url, &["--base-retries", "0"], Some(KEY));
            assert!(code == Some(1) && said.contains(words), "{said}");
        }
    }
    server.clear();
    server.always("/completion", 0, Fault::Says("no JSON but sk-secret-0123456789"));
    assert!(ask(&server.url, &["--base-retries", "0"], Some(KEY)).2.contains("no JSON but …"));
    server.always("/completion", 0, Fault::Says(r#"{"tokens": ["sk-secret-0123456789"]}"#));
    assert!(ask(&server.url, &["--base-retries", "0"], Some(KEY)).2.contains("the id \"…\""));
    // The hint knows whether there was one.
    server.always("/props", 0, Fault::Status(401, "", ""));
    assert!(ask(&server.url, &[], None).2.contains("hint: give the server's key with --base-api-key-file"));
    assert!(ask(&server.url, &[], Some(KEY)).2.contains("hint: check the key in --base-api-key-file"));
}

/// A redirect is not followed: the key would go along.
#[test]
fn a_key_is_not_redirected() {
    let (server, other) = (faulty(), faulty());
    let to = format!("Location: {}/props", other.url).leak();
    server.always("/props", 0, Fault::Status(307, to, ""));
    let (code, _, said) = ask(&server.url, &[], Some(KEY));
    assert!(code == Some(1) && said.contains("HTTP 307"), "{said}");
    assert_eq!(other.requests("/props").len(), 0);
}

#[test]
fn a_key_that_nobody_should_see_does_not_leave() {
    // No address of the outside is looked up or called.
    for url in ["http://base.example", "http://203.0.113.7:8080", "http://localhost.example:80/v1"] {
        let (code, _, said) = ask(url, &[], Some(KEY));
        assert!(
            code == Some(1) && said.contains("unencrypted") && said.contains("hint: use an https:// address"),
            "{said}"
        );
    }
    for key in ["two words", "tab\tkey", "schlüssel"] {
        let (code, _, said) = ask("http://127.0.0.1:1", &[], Some(key));
        assert!(code == Some(1) && said.contains("PROXYTUNE_BASE_API_KEY holds no key"), "{said}");
        assert!(!said.contains(key), "{said}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("empty");
    std::fs::write(&path, "\n").expect("writable");
    let (code, _, said) = ask("http://127.0.0.1:1", &["--base-api-key-file", path.to_str().expect("UTF-8")], None);
    assert!(code == Some(1) && said.contains("empty holds no key"), "{said}");
    let (code, _, said) = ask("http://127.0.0.1:1", &["--base-api-key-file", "/no/such"], None);
    assert!(code == Some(1) && said.contains("/no/such"), "{said}");
}
