//! llama-server's own endpoints.

use std::time::Duration;

use serde_json::{Value, json};

use crate::gguf::{Spec, Value as Field};
use crate::server_process::Server;
use crate::trio::{PROMPT, file};

fn server(more: &[&str]) -> Server {
    Server::start(&[&["-R", "demo", "--temp", "0", "-c", "512", "-np", "2", "--draft", "off"][..], more].concat())
}

/// A body with a prompt and a length, where it names none.
fn asked(mut body: Value) -> Value {
    for (name, value) in [("prompt", json!(PROMPT)), ("n_predict", json!(8))] {
        if body.get(name).is_none() {
            body[name] = value;
        }
    }
    body
}

fn text(reply: &Value) -> &str {
    reply["content"].as_str().unwrap_or_else(|| panic!("no text: {reply}"))
}

#[test]
fn a_completion_is_told_whole_and_in_a_stream() {
    let server = server(&[]);
    let whole = server.post("/completion", &asked(json!({"return_tokens": true, "n_probs": 2}))).ok();
    assert_eq!(server.post("/completions", &asked(json!({}))).ok()["content"], whole["content"]);
    let legacy = server.post("/v1/completions", &json!({"prompt": PROMPT, "max_tokens": 8})).ok();
    assert_eq!(legacy["choices"][0]["text"], whole["content"]);
    let probs = whole["completion_probabilities"].as_array().expect("a list");
    let ids: Vec<_> = probs.iter().map(|token| token["id"].clone()).collect();
    assert_eq!(whole["tokens"], json!(ids));
    assert_eq!((probs.len(), probs[0]["top_logprobs"].as_array().map(Vec::len)), (8, Some(2)));
    assert_eq!((&whole["stop"], &whole["stop_type"], &whole["id_slot"]), (&json!(true), &json!("limit"), &json!(-1)));
    assert_eq!(whole["generation_settings"]["n_predict"], 8);
    let streamed = server.post("/completion", &asked(json!({"stream": true, "timings_per_token": true, "n_probs": 2})));
    assert!(!streamed.text.contains("[DONE]"), "{streamed:?}");
    let events = streamed.events();
    let (last, parts) = events.split_last().expect("events");
    assert_eq!(parts.iter().map(text).collect::<String>(), text(&whole));
    assert!(parts.iter().all(|part| part["stop"] == false && part["timings"].is_object()), "{parts:?}");
    let told: Vec<_> = parts.iter().map(|part| part["tokens"][0].clone()).collect();
    assert_eq!(json!(told), whole["tokens"]);
    let of_parts: Vec<_> = parts.iter().map(|part| part["completion_probabilities"][0]["id"].clone()).collect();
    assert_eq!(json!(of_parts), whole["tokens"]);
    for name in ["stop", "stop_type", "prompt", "tokens_predicted", "tokens_evaluated", "tokens_cached", "truncated"] {
        assert_eq!(last[name], whole[name], "{name}");
    }
    assert_eq!((text(last), &last["tokens"]), ("", &json!([])));
}

#[test]
fn several_prompts_make_a_list_and_indices() {
    let server = server(&[]);
    let prompts = json!(["Once upon", ["Once", 260, " time"], [512, 1031]]);
    let whole = server.post("/completion", &asked(json!({"prompt": prompts, "n": 2}))).ok();
    let whole = whole.as_array().expect("a list");
    assert_eq!(whole.len(), 6);
    let events = server.post("/completion", &asked(json!({"prompt": prompts, "n": 2, "stream": true}))).events();
    for (i, one) in whole.iter().enumerate() {
        let of = |event: &&Value| event["index"] == i;
        let (last, parts): (Vec<_>, Vec<_>) = events.iter().filter(of).partition(|event| event["stop"] == true);
        assert_eq!(one["index"], i);
        assert_eq!(parts.into_iter().map(text).collect::<String>(), text(one), "{i}");
        assert_eq!(last[0]["prompt"], one["prompt"], "{i}");
    }
}

#[test]
fn steering_and_its_explanation_are_told_here_too() {
    let server = server(&[]);
    let post = |more| server.post("/completion", &asked(more)).ok();
    let (steered, base) = (post(json!({})), post(json!({"model": "demo:base"})));
    assert_ne!(steered["content"], base["content"]);
    assert_eq!(post(json!({"proxy": {"off": true}}))["content"], base["content"]);
    assert_eq!(post(json!({"proxy": {"alpha": 0}}))["content"], base["content"]);
    let guided = post(json!({"guidance_scale": 9, "negative_prompt": "The sea", "proxy": {"off": true}}));
    assert_ne!(guided["content"], base["content"]);
    let explained = post(json!({"proxy": {"explain": true}}));
    assert_eq!(explained["content"], steered["content"]);
    let tokens = explained["proxy"]["tokens"].as_array().expect("a list");
    assert!(tokens.len() == 8 && tokens[0]["pairs"].is_object() && tokens[0]["base"].is_number(), "{explained}");
    assert_eq!(explained["generation_settings"]["proxy"]["off"], false);
}

#[test]
fn fields_of_the_reply_can_be_picked() {
    let server = server(&[]);
    let fields = json!({"response_fields": ["content", "generation_settings/top_k", "nothing", "stop/more"]});
    let picked = server.post("/completion", &asked(fields)).ok();
    let names: Vec<_> = picked.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(names, ["content", "generation_settings/top_k"]);
}

#[test]
fn a_time_limit_ends_with_a_line() {
    let server = server(&[]);
    // Lines end with every token.
    let body = json!({"prompt": "x", "n_predict": 400, "grammar": "root ::= \"\\n\"+", "t_max_predict_ms": 1});
    for stream in [false, true] {
        let mut body = body.clone();
        body["stream"] = json!(stream);
        let reply = server.post("/completion", &body);
        let last = if stream { reply.events().pop().expect("events") } else { reply.ok() };
        assert_eq!(last["stop_type"], "limit", "{last}");
        let n = last["tokens_predicted"].as_u64().expect("a number");
        assert!((1..400).contains(&n), "{n}");
    }
    let body = json!({"prompt": PROMPT, "n_predict": 12, "grammar": "root ::= [a-z ]+", "t_max_predict_ms": 1});
    assert_eq!(server.post("/completion", &body).ok()["tokens_predicted"], 12, "there is no line to end");
}

#[test]
fn progress_is_told_before_the_first_token() {
    let server = server(&[]);
    let body = asked(json!({"stream": true, "return_progress": true, "n_predict": 1}));
    let events = server.post("/completion", &body).events();
    let progress: Vec<_> = events.iter().filter_map(|event| event.get("prompt_progress")).collect();
    assert!(progress.len() >= 2, "{events:?}");
    let last = progress.last().expect("several");
    assert_eq!(last["processed"], last["total"]);
    assert!(server.post("/completion", &asked(json!({"stream": true}))).text.find("prompt_progress").is_none());
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let server = server(&[]);
    for (more, param) in [
        (json!({"post_sampling_probs": true}), "post_sampling_probs"),
        (json!({"lora": [{"id": 0, "scale": 1}]}), "lora"),
        (json!({"n_indent": 4}), "n_indent"),
        (json!({"n_probs": 100_000}), "n_probs"),
        (json!({"n": 0}), "n"),
        (json!({"response_fields": "content"}), "response_fields"),
        (json!({"samplers": ["infill"]}), "samplers"),
        (json!({"prompt": [1, -1.5]}), "prompt"),
    ] {
        let (_, of, message) = server.post("/completion", &asked(more.clone())).error(400);
        assert_eq!(of, param, "{more}: {message}");
    }
    let fine = json!({"n_indent": 0, "lora": [], "post_sampling_probs": false, "id_slot": 1, "cache_prompt": false, "n_keep": 4});
    server.post("/completion", &asked(fine)).ok();
}

#[test]
fn tokens_and_texts_become_one_another() {
    let server = server(&[]);
    let tokens = server.post("/tokenize", &json!({"content": PROMPT})).ok()["tokens"].clone();
    assert_eq!(
        server.post("/tokenize", &json!({"prompt": PROMPT, "add_special_tokens": false})).ok()["tokens"],
        tokens
    );
    let with_bos = server.post("/tokenize", &json!({"content": PROMPT, "add_special": true})).ok()["tokens"].clone();
    assert_eq!(with_bos.as_array().map(|list| &list[1..]), tokens.as_array().map(Vec::as_slice));
    let back = server.post("/detokenize", &json!({"tokens": tokens})).ok();
    assert_eq!((&back["content"], &back["prompt"]), (&json!(PROMPT), &json!(PROMPT)));
    let pieces = server.post("/tokenize", &json!({"content": "a 😀", "with_pieces": true})).ok()["tokens"].clone();
    let pieces = pieces.as_array().expect("a list");
    assert!(pieces[0]["piece"].is_string() && pieces.iter().any(|token| token["piece"].is_array()), "{pieces:?}");
    let by_expert = server.post("/tokenize", &json!({"content": PROMPT, "model": "demo:expert"})).ok();
    assert_eq!(by_expert["tokens"], tokens, "they share a vocabulary");
    assert_eq!(server.post("/detokenize", &json!({"tokens": [1_000_000]})).error(400).0, "invalid_request_error");
    assert_eq!(server.post("/tokenize", &json!({"content": {}})).error(400).1, "content");
    assert_eq!(server.post("/tokenize", &json!({"content": "x", "model": "none"})).status, 404);
}

#[test]
fn a_template_shows_what_each_role_is_given() {
    let server = server(&[]);
    let body = json!({"messages": [{"role": "user", "content": "Hello"}]});
    let all = server.post("/apply-template", &body).ok();
    let roles = all["roles"].as_object().expect("an object");
    assert_eq!(all["prompt"], roles["base"]);
    assert_eq!(roles.len(), 3, "{all}");
    let expert = server.post("/apply-template", &json!({"messages": body["messages"], "model": "demo:expert"})).ok();
    assert!(roles.values().any(|prompt| *prompt == expert["prompt"]), "{all} {expert}");
    let n = server.post("/v1/chat/completions/input_tokens", &body).ok()["input_tokens"].clone();
    let chat = json!({"messages": body["messages"], "max_tokens": 1});
    assert_eq!(server.post("/v1/chat/completions", &chat).ok()["usage"]["prompt_tokens"], n);
    let refused = json!({"messages": body["messages"], "chat_template_kwargs": {"enable_thinking": false}});
    assert_eq!(server.post("/apply-template", &refused).error(400).1, "chat_template_kwargs");
}

#[test]
fn properties_say_what_a_model_is_and_not_where() {
    let server = server(&["--slots", "--expert-template", "chatml"]);
    let props = server.get("/props").ok();
    let defaults = &props["default_generation_settings"];
    assert_eq!((&defaults["n_ctx"], &props["total_slots"]), (&json!(256), &json!(2)));
    assert_eq!(defaults["params"]["temperature"], 0.0);
    assert_eq!(props["model_path"], "base.gguf");
    assert_eq!(props["chat_template_caps"]["supports_tools"], true);
    assert_eq!(props["modalities"], json!({"vision": false, "audio": false, "video": false}));
    assert!(!props["chat_template"].as_str().expect("a text").is_empty(), "the expert's");
    assert_eq!(server.get("/props?model=demo:base").ok()["chat_template"], "");
    assert_eq!(server.get("/props?model=none").status, 404);
    assert_eq!(server.post("/props", &json!({})).error(501).0, "not_supported_error");
    let info = server.get("/tokenizer_info").ok();
    assert_eq!((&info["eos_token"], &info["bos_token"]), (&props["eos_token"], &props["bos_token"]));
    assert_eq!(info["chat_template"], props["chat_template"]);
    let models = server.get("/models").ok();
    assert_eq!(models["data"][0]["meta"]["n_ctx"], 256);
    let folder = file("base").parent().expect("a folder").display().to_string();
    for path in ["/props", "/models", "/v1/models", "/slots", "/tokenizer_info", "/openapi.json"] {
        assert!(!server.get(path).text.contains(&folder), "{path}");
    }
}

#[test]
fn a_padding_token_is_the_files_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("padded.gguf");
    let pad_token = |spec: Spec| {
        spec.write(&path).expect("writable");
        let server = Server::start(&["-m", path.to_str().expect("UTF-8"), "-c", "64", "-np", "1"]);
        let info = server.get("/tokenizer_info").ok();
        (info["pad_token"].clone(), info["eos_token"].clone())
    };
    let plain = Spec::sentence_piece();
    let own = plain.clone().with("tokenizer.ggml.padding_token_id", Field::U32(0));
    assert_eq!(pad_token(own), (json!("<unk>"), json!("</s>")));
    let (pad, eos) = pad_token(plain);
    assert_eq!(pad, eos, "without one");
}

#[test]
fn slots_are_listed_without_their_texts() {
    let server = server(&[]);
    let slots = server.get("/slots").ok();
    assert_eq!(slots.as_array().map(Vec::len), Some(2));
    assert_eq!(slots[0]["is_processing"], false);
    server.get("/slots?fail_on_no_slot=1").ok();
    assert_eq!(server.post("/slots/0?action=save", &json!({})).error(501).0, "not_supported_error");
    let closed = Server::start(&["-R", "demo", "-c", "128", "-np", "1", "--no-slots"]);
    assert_eq!(closed.get("/slots").error(501).0, "not_supported_error");
    assert_eq!(closed.get("/metrics").error(501).0, "not_supported_error");
}

#[test]
fn metrics_count_what_was_done() {
    let server = Server::start(&["-R", "demo", "--temp", "0", "-c", "512", "-np", "1", "--metrics", "--draft", "4"]);
    let n = server.post("/completion", &asked(json!({"n_predict": 24}))).ok();
    assert_eq!(server.get("/nonsense").status, 404);
    // A client has its answer a moment before its slot is free. Looking counts as a request too.
    let (n_looks, metrics) = (0..1000)
        .map(|n| {
            std::thread::sleep(Duration::from_millis(10 * u64::from(n > 0)));
            (n, server.get("/metrics"))
        })
        .find(|(_, metrics)| metrics.text.contains("llamacpp:requests_processing 0") || metrics.status != 200)
        .expect("nothing is left in process");
    assert!(metrics.status == 200 && metrics.kind.starts_with("text/plain"), "{metrics:?}");
    let value = |name: &str| -> f64 {
        let line = metrics.text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("no {name} in {}", metrics.text));
        line.rsplit(' ').next().expect("a value").parse().expect("a number")
    };
    assert_eq!(value("llamacpp:tokens_predicted_total"), 24.0);
    assert_eq!(json!(value("llamacpp:prompt_tokens_total") as u64), n["tokens_evaluated"]);
    assert!(
        value("llamacpp:spec_decode_num_draft_tokens_total") >= value("llamacpp:spec_decode_num_accepted_tokens_total")
    );
    assert!(value("llamacpp:spec_decode_num_drafts_total") > 0.0, "{}", metrics.text);
    assert!(value("llamacpp:tokens_predicted_seconds_total") > 0.0);
    assert_eq!(value("llamacpp:requests_processing"), 0.0);
    assert_eq!(value("proxytune:http_requests_total{status=\"200\"}"), 1.0 + f64::from(n_looks));
    assert_eq!(value("proxytune:http_requests_total{status=\"404\"}"), 1.0);
    assert_eq!(value("proxytune:time_to_first_token_seconds_count"), 1.0);
    assert_eq!(value("proxytune:engine_restarts"), 0.0);
    let positions =
        metrics.text.lines().filter(|line| line.starts_with("llamacpp:spec_decode_num_accepted_tokens_per_pos_total{"));
    assert!(positions.count() > 0, "{}", metrics.text);
}

#[test]
fn what_llama_server_has_beside_is_told_to_be_missing() {
    let server = server(&[]);
    for path in ["/v1/embeddings", "/embedding", "/v1/rerank", "/lora-adapters", "/v1/audio/transcriptions"] {
        assert_eq!(server.post(path, &json!({})).error(501).0, "not_supported_error", "{path}");
    }
    assert_eq!(server.get("/lora-adapters").ok(), json!([]));
    assert_eq!(server.get("/v1/health").ok()["status"], "ok");
}

/// The prompt that a model with tokens for filling in is given, as it is told again.
#[test]
fn filling_in_is_asked_for_in_llama_servers_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("infill.gguf");
    let mut spec = Spec::tiny();
    for (i, key) in ["pre", "suf", "mid", "rep", "sep"].into_iter().enumerate() {
        let id = 260 + i;
        spec.tokens[id].0 = format!("<{key}>");
        spec = spec.with(&format!("tokenizer.ggml.fim_{key}_token_id"), Field::U32(id as u32));
    }
    spec.write(&path).expect("writable");
    let model = path.to_str().expect("UTF-8");
    let common = ["-m", model, "--temp", "0", "-c", "256", "-np", "1"];
    let body = json!({
        "input_prefix": "fn a", "input_suffix": "}", "prompt": "x", "n_predict": 4, "samplers": ["top_k", "top_p", "infill"],
        "input_extra": [{"filename": "b.rs", "text": "fn b"}, {"text": "c"}],
    });
    let server = Server::start(&common);
    let reply = server.post("/infill", &body).ok();
    let extra = "<rep>myproject\n<sep>b.rs\nfn b<sep>tmp\nc<sep>filename\n";
    assert_eq!(reply["prompt"], format!("{extra}<|bos|><pre>fn ax<suf>}}<mid>"));
    let events = server.post("/infill", &{
        let mut body = body.clone();
        body["stream"] = json!(true);
        body
    });
    assert_eq!(events.events().iter().map(text).collect::<String>(), text(&reply));
    for (body, param) in [
        (json!({"input_prefix": "a"}), "input_suffix"),
        (json!({"input_prefix": 1, "input_suffix": "b"}), "input_prefix"),
        (json!({"input_prefix": "a", "input_suffix": "b", "input_extra": [{"filename": "x"}]}), "input_extra[0]"),
    ] {
        let (_, of, message) = server.post("/infill", &body).error(400);
        assert!(of == param || message.contains(param), "{of}: {message}");
    }
    let suffix_first = Server::start(&[&common[..], &["--spm-infill"]].concat());
    let reply = suffix_first.post("/infill", &json!({"input_prefix": "a", "input_suffix": "b", "n_predict": 1})).ok();
    assert_eq!(reply["prompt"], "<rep>myproject\n<sep>filename\n<|bos|><suf>b<pre>a<mid>");
    let without = Server::start(&["-R", "demo", "-c", "128", "-np", "1"]);
    assert_eq!(without.post("/infill", &body).error(501).0, "not_supported_error");
}
