//! The page at `/`: who gets it, and what a browser is told to keep from it. `make test-web` uses it.

use std::io::Read;

use crate::server_process::Server;

/// What a browser gets: status, a header's value, body.
fn browsed(server: &Server, path: &str, header: &str) -> (u16, String, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let url = format!("{}{path}", server.url);
    let mut response = agent.get(url).header("Accept", "text/html,*/*").call().expect("it answers");
    let value = response.headers().get(header).map(|value| value.to_str().expect("ASCII").to_owned());
    let mut body = String::new();
    response.body_mut().as_reader().read_to_string(&mut body).expect("UTF-8");
    (response.status().as_u16(), value.unwrap_or_default(), body)
}

#[test]
fn a_browser_gets_the_page_and_a_program_a_line() {
    // Files of the page come without a key: it is the page that asks for it.
    let server = Server::start(&["-R", "demo", "--api-key", "secret"]);
    assert!(server.said().contains(&format!("see it steer: {}/\n", server.url)), "{}", server.said());
    let (status, policy, html) = browsed(&server, "/", "content-security-policy");
    assert_eq!(status, 200);
    assert!(html.starts_with("<!doctype html>") && html.contains("<base href=\"/\">"), "{html}");
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let program = server.get("/");
    assert_eq!(program.kind, "text/plain; charset=utf-8");
    assert!(program.text.contains("/openapi.json"), "{}", program.text);
    for (path, kind) in [("/page/main.js", "text/javascript; charset=utf-8"), ("/page/icon.svg", "image/svg+xml")] {
        let (status, found, body) = browsed(&server, path, "content-type");
        assert_eq!((status, found.as_str()), (200, kind), "{path}");
        assert!(!body.is_empty(), "{path}");
    }
    for path in ["/page/", "/page/other.js", "/page/..%2fmain.js", "/page/index.html"] {
        assert_eq!(browsed(&server, path, "content-type").0, 404, "{path}");
    }
    assert_eq!(server.get("/props").status, 401);
}

#[test]
fn a_prefix_stands_in_front_of_the_page_too() {
    let server = Server::start(&["-R", "demo", "--api-prefix", "/llm"]);
    assert!(server.said().contains(&format!("see it steer: {}/llm/\n", server.url)), "{}", server.said());
    for path in ["/llm", "/llm/"] {
        let (status, _, html) = browsed(&server, path, "vary");
        assert_eq!(status, 200, "{path}");
        assert!(html.contains("<base href=\"/llm/\">"), "{html}");
    }
    assert_eq!(browsed(&server, "/llm/page/style.css", "content-type").0, 200);
    assert_eq!(browsed(&server, "/", "vary").0, 404);
}

#[test]
fn without_a_page_everybody_gets_the_line() {
    let server = Server::start(&["-R", "demo", "--no-ui"]);
    assert!(!server.said().contains("see it steer"), "{}", server.said());
    let (status, kind, text) = browsed(&server, "/", "content-type");
    assert_eq!((status, kind.as_str()), (200, "text/plain; charset=utf-8"), "{text}");
    assert_eq!(browsed(&server, "/page/main.js", "content-type").0, 404);
}
