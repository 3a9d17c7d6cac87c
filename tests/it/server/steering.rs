//! How far a request is steered, and what is told of it.

use serde_json::{Value, json};

use super::with;
use crate::command_line::json as generate;
use crate::server_process::Server;
use crate::trio::{PROMPT, file};

/// The text of a chat with more fields.
fn text(server: &Server, more: Value) -> String {
    let body = with(json!({"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 16}), more);
    let whole = server.post("/v1/chat/completions", &body).ok();
    whole["choices"][0]["message"]["content"].as_str().expect("a text").to_owned()
}

/// What the command line writes.
fn written(args: &[&str]) -> String {
    let common = ["generate", "--temp", "0", "-c", "512", "-p", PROMPT, "-n", "16", "--json", "--draft", "off"];
    let object = generate(&[&common[..], args].concat());
    object["text"].as_str().expect("a text").to_owned()
}

#[test]
fn alphas_schedules_and_names_are_those_of_the_command_line() {
    let server = Server::start(&["-R", "several", "-R", "demo", "--temp", "0", "-c", "512", "-np", "1"]);
    for (proxy, args) in [
        (json!({}), &[][..]),
        (json!({"alpha": 0.9}), &["--alpha", "0.9"]),
        (json!({"alpha": [0.9, -0.5]}), &["--alpha", "0.9,-0.5"]),
        (json!({"pairs": {"plays": 1.5}}), &["--alpha", "0.4,1.5"]),
        (json!({"alpha": 0.9, "pairs": {"stories": 0}}), &["--alpha", "0,0.9"]),
        (json!({"schedule": "2@0..0@8"}), &["--alpha-schedule", "2@0..0@8"]),
        (json!({"schedule": ["2@0..0@8", 0.5]}), &["--alpha-schedule", "2@0..0@8", "--alpha-schedule", "0.5"]),
        (json!({"plausibility": 0.5}), &["--plausibility", "0.5"]),
    ] {
        let expected = written(&[&["-R", "several"], args].concat());
        assert_eq!(text(&server, json!({"proxy": proxy})), expected, "{proxy}");
    }
    assert_eq!(text(&server, json!({"model": "demo"})), written(&["-R", "demo"]));
    let base = written(&["-R", "several", "--alpha", "0"]);
    assert_eq!(text(&server, json!({"model": "several:base"})), base);
    assert_eq!(text(&server, json!({"proxy": {"off": true}})), base);
}

#[test]
fn what_cannot_be_steered_so_is_refused_by_name() {
    let server = Server::start(&["-R", "several", "-c", "512", "-np", "1"]);
    for (more, param, words) in [
        (json!({"proxy": {"alpha": 11}}), "proxy.alpha", "-10 to 10"),
        (json!({"proxy": {"alpha": [1, 2, 3]}}), "proxy.alpha", "3 values"),
        (json!({"proxy": {"alpha": "fast"}}), "proxy.alpha", "fast"),
        (json!({"proxy": {"alpha": 1, "schedule": "1"}}), "proxy.schedule", "one of the two"),
        (json!({"proxy": {"pairs": {"poems": 1}}}), "proxy.pairs", "stories, plays"),
        (json!({"proxy": {"plausibility": 2}}), "proxy.plausibility", "0 to 1"),
        (json!({"proxy": {"alpah": 1}}), "proxy.alpah", "unknown field"),
        (json!({"proxy": {"off": true, "alpha": 1}}), "proxy", "`off`"),
        (json!({"proxy": {"explain": 257}}), "proxy.explain", "0 to 256"),
        (json!({"proxy": {"explain": "much"}}), "proxy.explain", "true, false, or a number"),
        (json!({"model": "several:base", "proxy": {"alpha": 1}}), "proxy", "not steered"),
        (json!({"negative_prompt": "A dog"}), "negative_prompt", "guidance_scale"),
        (json!({"model": "several:expert", "guidance_scale": 2}), "guidance_scale", "of the base"),
        (json!({"guidance_scale": 100}), "guidance_scale", "-9 to 11"),
    ] {
        let body = with(json!({"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 1}), more.clone());
        let (kind, got, message) = server.post("/v1/chat/completions", &body).error(400);
        assert_eq!((kind.as_str(), &got), ("invalid_request_error", &json!(param)), "{more}: {message}");
        assert!(message.contains(words), "{more}: {message}");
    }
}

#[test]
fn guidance_is_that_of_a_recipe_and_adds_to_pairs() {
    let (base, expert, antiexpert) = (file("base"), file("expert"), file("antiexpert"));
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let (base, expert, antiexpert) = (path(&base), path(&expert), path(&antiexpert));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let recipe = |name: &str, pairs: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("base = '{base}'\n{pairs}")).expect("writable");
        path(&file)
    };
    let pair = format!("[[pair]]\nexpert = '{expert}'\nantiexpert = '{antiexpert}'\nalpha = 0.75\n");
    let guide = |prompt: &str, alpha: f32| {
        format!("[[pair]]\nexpert = 'base'\nantiexpert = {{ model = 'base', prompt = '{prompt}' }}\nalpha = {alpha}\n")
    };
    let alone = recipe("alone.toml", "");
    let steered = recipe("steered.toml", &pair);
    let server = Server::start(&["-R", &alone, "-R", &steered, "--temp", "0", "-c", "512", "-np", "1"]);
    for (model, pairs, negative, scale) in [
        ("alone", String::new(), "", 1.5_f32),
        ("alone", String::new(), "A dog was", 3.0),
        ("steered", pair.clone(), "A dog was", 2.0),
        ("steered:base", String::new(), "A dog was", 3.0),
    ] {
        let same = recipe("same.toml", &(pairs + &guide(negative, scale - 1.0)));
        let more = json!({"model": model, "guidance_scale": scale, "negative_prompt": negative});
        assert_eq!(text(&server, more.clone()), written(&["-R", &same]), "{more}");
    }
    let unguided = text(&server, json!({"model": "alone"}));
    assert_eq!(text(&server, json!({"model": "alone", "guidance_scale": 1, "negative_prompt": "A dog was"})), unguided);
}

#[test]
fn each_token_is_explained_under_every_role() {
    let server = Server::start(&["-R", "several", "--temp", "0", "-c", "512", "-np", "1"]);
    let body = json!({
        "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8, "logprobs": true, "top_logprobs": 2,
        "proxy": {"explain": true},
    });
    let whole = server.post("/v1/chat/completions", &body).ok();
    let choice = &whole["choices"][0];
    let (tokens, content) =
        (choice["proxy"]["tokens"].as_array().unwrap(), choice["logprobs"]["content"].as_array().unwrap());
    assert_eq!((tokens.len(), content.len()), (8, 8));
    let object = generate(&[
        "generate",
        "-R",
        "several",
        "--temp",
        "0",
        "-c",
        "512",
        "-p",
        PROMPT,
        "-n",
        "8",
        "--json",
        "--n-probs",
        "2",
        "--draft",
        "off",
    ]);
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    let close = |a: &Value, b: &Value| assert!((number(a) - number(b)).abs() < 1e-3, "{a} and {b}");
    for (i, probs) in object["probs"].as_array().expect("probs").iter().enumerate() {
        let token = &tokens[i];
        assert_eq!(token["id"], probs["id"], "{probs}");
        close(&token["steered"], &probs["logprob"]);
        close(&token["steered"], &content[i]["logprob"]);
        close(&token["base"], &probs["base"]);
        for (name, side, role) in [
            ("stories", "expert", "expert"),
            ("stories", "antiexpert", "antiexpert"),
            ("plays", "expert", "expert 2"),
            ("plays", "antiexpert", "antiexpert 2"),
        ] {
            close(&token["pairs"][name][side], &probs[role]);
        }
        assert_eq!(content[i]["top_logprobs"].as_array().expect("a list").len(), 2);
    }
    // In a stream the same, token by token.
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let events = server.post("/v1/chat/completions", &streamed).events();
    let explained: Vec<_> =
        events.iter().filter_map(|event| event["choices"][0]["proxy"]["tokens"].as_array()).flatten().collect();
    assert_eq!(explained.len(), 8);
    assert!(explained.iter().zip(tokens).all(|(streamed, whole)| streamed["id"] == whole["id"]));
}

/// A number tells candidates too, and `logprobs` still has as many as it asks for.
#[test]
fn candidates_are_explained_beside_their_token() {
    let server = Server::start(&["-R", "several", "--temp", "0", "-c", "512", "-np", "1"]);
    let explained = |explain: Value, more: Value| {
        let body = json!({"prompt": PROMPT, "max_tokens": 6, "proxy": {"explain": explain}});
        let whole = server.post("/v1/completions", &with(body, more)).ok();
        let choice = &whole["choices"][0];
        (choice["proxy"]["tokens"].as_array().expect("tokens").clone(), choice["logprobs"].clone())
    };
    let (tokens, logprobs) = explained(json!(5), json!({"logprobs": 2}));
    for (i, token) in tokens.iter().enumerate() {
        let top = token["top"].as_array().expect("candidates");
        assert_eq!((top.len(), logprobs["top_logprobs"][i].as_object().map(serde_json::Map::len)), (5, Some(2)));
        assert!(top.windows(2).all(|two| two[0]["steered"].as_f64() >= two[1]["steered"].as_f64()), "{token}");
        // Greedy: the token is the first candidate.
        for name in ["id", "token", "bytes", "steered", "base", "pairs"] {
            assert!(!token[name].is_null() && top[0][name] == token[name], "{name}: {token}");
        }
        let spelled: Vec<u8> = serde_json::from_value(token["bytes"].clone()).expect("bytes");
        assert_eq!(String::from_utf8_lossy(&spelled), token["token"].as_str().expect("a text"));
        assert!(token["divergence"].as_f64().is_some_and(|divergence| divergence > 0.0), "{token}");
    }
    let (plain, none) = explained(json!(true), json!({}));
    assert!(none.is_null() && plain.iter().all(|token| token.get("top").is_none()), "{plain:?}");
    assert!(plain.iter().zip(&tokens).all(|(plain, token)| plain["id"] == token["id"]));
    let (empty, _) = explained(json!(0), json!({}));
    assert!(empty.iter().all(|token| token["top"] == json!([])), "{empty:?}");
    for model in ["several:base", "several:expert"] {
        let (alone, _) = explained(json!(3), json!({"model": model}));
        assert!(alone.iter().all(|token| token["divergence"].is_null()), "{alone:?}");
        assert!(alone.iter().all(|token| token["top"].as_array().map(Vec::len) == Some(3)), "{alone:?}");
    }
    let guided = json!({"model": "several:base", "guidance_scale": 2});
    let (guided, _) = explained(json!(true), guided);
    assert!(guided.iter().any(|token| token["divergence"].as_f64() > Some(0.0)), "{guided:?}");
}
