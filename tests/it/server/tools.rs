//! Tools in every dialect: the demo is made to call one, and told what it came to.

use serde_json::{Value, json};

use super::with;
use crate::server_process::Server;

/// The demo, drawing from its own distribution, with room for the description of tools.
fn server() -> Server {
    Server::start(&["-R", "demo", "--temp", "0", "-c", "1024", "-np", "1"])
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"animal": {"enum": ["dog", "cat"]}, "n": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["animal", "n"],
    })
}

fn function() -> Value {
    json!({"name": "count_animals", "description": "Counts animals.", "parameters": schema()})
}

fn assert_kept(arguments: &Value) {
    assert!(arguments["animal"] == "dog" || arguments["animal"] == "cat", "{arguments}");
    assert!(arguments["n"].as_u64().is_some_and(|n| (1..=9).contains(&n)), "{arguments}");
}

fn parsed(text: &Value) -> Value {
    serde_json::from_str(text.as_str().expect("a text")).expect("JSON")
}

fn chat(more: Value) -> Value {
    let tools = json!([{"type": "function", "function": function()}]);
    let messages = json!([{"role": "user", "content": "How many dogs are there?"}]);
    with(json!({"messages": messages, "max_tokens": 160, "tools": tools, "tool_choice": "required"}), more)
}

#[test]
fn a_call_is_told_whole_and_in_a_stream_and_its_result_goes_back() {
    let server = server();
    let reply = server.post("/v1/chat/completions", &chat(json!({"parallel_tool_calls": false}))).ok();
    let choice = &reply["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{reply}");
    assert_eq!(choice["message"]["content"], Value::Null);
    let calls = choice["message"]["tool_calls"].as_array().expect("calls");
    assert_eq!(calls.len(), 1);
    assert_eq!((&calls[0]["type"], &calls[0]["function"]["name"]), (&json!("function"), &json!("count_animals")));
    assert_kept(&parsed(&calls[0]["function"]["arguments"]));
    let events =
        server.post("/v1/chat/completions", &chat(json!({"parallel_tool_calls": false, "stream": true}))).events();
    let deltas = || events.iter().filter_map(|event| event["choices"][0]["delta"]["tool_calls"].as_array()).flatten();
    let first = deltas().next().expect("deltas");
    assert!(first["id"].is_string() && first["function"]["name"] == "count_animals", "{first}");
    assert!(deltas().skip(1).all(|delta| delta.get("id").is_none() && delta["index"] == 0));
    let arguments: String = deltas().filter_map(|delta| delta["function"]["arguments"].as_str()).collect();
    assert_eq!(json!(arguments), calls[0]["function"]["arguments"]);
    let ends: Vec<_> = events.iter().filter_map(|event| event["choices"][0]["finish_reason"].as_str()).collect();
    assert_eq!(ends, ["tool_calls"]);
    // The demo has no chat template: calls and results are plain text there.
    let messages = json!([
        {"role": "user", "content": "How many dogs are there?"},
        choice["message"],
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "There are 3 <dogs>."},
    ]);
    let shown = server.post("/apply-template", &json!({"messages": messages})).ok();
    let prompt = shown["prompt"].as_str().expect("a prompt");
    assert!(prompt.contains("<tool_call>\n{\"name\": \"count_animals\", \"arguments\": {"), "{prompt}");
    assert!(prompt.contains("<tool_response>\nThere are 3 <dogs>.\n</tool_response>"), "{prompt}");
    server.post("/v1/chat/completions", &chat(json!({"messages": messages, "tool_choice": "auto"}))).ok();
}

#[test]
fn choices_bind_and_drafts_change_no_call() {
    let server = server();
    let none = server.post("/v1/chat/completions", &chat(json!({"tool_choice": "none", "max_tokens": 8}))).ok();
    assert!(none["choices"][0]["message"]["content"].is_string());
    let other = json!({"type": "function", "function": {"name": "other"}});
    let both = json!([{"type": "function", "function": function()}, other]);
    let named = json!({"type": "function", "function": {"name": "other"}});
    let body = chat(json!({"tools": both, "tool_choice": named, "parallel_tool_calls": false}));
    let reply = server.post("/v1/chat/completions", &body).ok();
    let call = &reply["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!((&call["name"], &call["arguments"]), (&json!("other"), &json!("{}")));
    assert!(reply["timings"]["draft_n_accepted"].as_u64().is_some_and(|n| n > 0), "what is forced is drafted: {reply}");
    let plain = Server::start(&["-R", "demo", "--temp", "0", "-c", "1024", "-np", "1", "--draft", "off"]);
    assert_eq!(
        plain.post("/v1/chat/completions", &body).ok()["choices"][0]["message"]["tool_calls"][0]["function"],
        *call
    );
    // An answer that is no call keeps to a schema too.
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes", "no"]}}});
    let body = chat(json!({"tool_choice": "auto", "response_format": format}));
    let reply = server.post("/v1/chat/completions", &body).ok();
    let message = &reply["choices"][0]["message"];
    assert!(
        message["tool_calls"].is_array()
            || ["\"yes\"", "\"no\""].contains(&message["content"].as_str().expect("a text"))
    );
}

#[test]
fn what_cannot_be_offered_is_refused_by_name() {
    let server = server();
    let two = json!([{"type": "function", "function": function()}, {"type": "function", "function": function()}]);
    let strict = |parameters: Value, strict: bool| json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": parameters, "strict": strict}}]});
    let unique = json!({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": true}}});
    for (more, param) in [
        (json!({"tools": "f"}), json!("tools")),
        (json!({"tools": []}), json!("tool_choice")),
        (json!({"tools": [{"type": "web_search"}]}), json!("tools[0]")),
        (json!({"tools": [{"type": "function", "function": {}}]}), json!("tools[0].function.name")),
        (json!({"tools": two}), json!("tools")),
        (json!({"tool_choice": "perhaps"}), json!("tool_choice")),
        (json!({"tool_choice": {"type": "function", "function": {"name": "g"}}}), json!("tools")),
        (json!({"parallel_tool_calls": 2}), json!("parallel_tool_calls")),
        (json!({"grammar": "root ::= \"a\""}), Value::Null),
        (
            json!({"messages": [{"role": "user", "content": "x", "tool_calls": [{"function": {"name": "f"}}]}]}),
            json!("messages[0].tool_calls"),
        ),
        (strict(unique.clone(), true), Value::Null),
        (strict(json!({"type": "array"}), false), json!("tools")),
    ] {
        let (_, got, message) = server.post("/v1/chat/completions", &chat(more.clone())).error(400);
        assert_eq!(got, param, "{more}: {message}");
    }
    let (_, _, message) = server.post("/v1/chat/completions", &chat(strict(unique.clone(), true))).error(400);
    assert!(message.contains("the parameters of f: #/properties/a/uniqueItems"), "{message}");
    let reply = server.post("/v1/chat/completions", &chat(strict(unique, false))).ok();
    let note = reply["choices"][0]["notes"][0].as_str().expect("a note");
    assert!(note.starts_with("the parameters of f: #/properties/a/uniqueItems"), "{note}");
}

#[test]
fn a_schema_is_kept_refused_or_loosened_with_a_note() {
    let server = server();
    let format = |strict: Value| {
        let schema =
            json!({"type": "object", "properties": {"a": {"enum": ["x"], "not": {"const": "y"}}}, "required": ["a"]});
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": strict}}, "tools": null, "tool_choice": null})
    };
    let (_, _, message) = server.post("/v1/chat/completions", &chat(format(json!(true)))).error(400);
    assert!(message.contains("#/properties/a/not: the keyword `not`"), "{message}");
    for more in [format(json!(false)), with(format(Value::Null), json!({"json_schema_lax": true}))] {
        let reply = server.post("/v1/chat/completions", &chat(more)).ok();
        let choice = &reply["choices"][0];
        assert_eq!(parsed(&choice["message"]["content"]), json!({"a": "x"}));
        assert!(choice["notes"][0].as_str().is_some_and(|note| note.contains("#/properties/a/not")), "{choice}");
    }
    let cut = json!({"json_schema": {"type": "array", "items": {"type": "integer"}, "minItems": 50}, "max_tokens": 4, "tools": null, "tool_choice": null});
    let reply = server.post("/v1/chat/completions", &chat(cut)).ok();
    assert_eq!(reply["choices"][0]["notes"][0], "the answer is cut, and its form is not complete");
    let regex = json!({"regex": "(yes|no), \\d%", "tools": null, "tool_choice": null});
    let reply = server.post("/v1/chat/completions", &chat(regex)).ok();
    let text = reply["choices"][0]["message"]["content"].as_str().expect("a text");
    assert!(text.starts_with("yes, ") || text.starts_with("no, "), "{text}");
    assert!(text.ends_with('%'), "{text}");
}

#[test]
fn anthropics_clients_call_too() {
    let server = server();
    let tool = json!({"name": "count_animals", "description": "Counts animals.", "input_schema": schema()});
    let body = |more: Value| {
        let choice = json!({"type": "any", "disable_parallel_tool_use": true});
        let messages = json!([{"role": "user", "content": "How many dogs are there?"}]);
        with(json!({"messages": messages, "max_tokens": 160, "tools": [tool], "tool_choice": choice}), more)
    };
    let message = server.post("/v1/messages", &body(json!({}))).ok();
    assert_eq!(message["stop_reason"], "tool_use", "{message}");
    let block = &message["content"][0];
    assert_eq!((&block["type"], &block["name"]), (&json!("tool_use"), &json!("count_animals")));
    assert_kept(&block["input"]);
    let events = server.post("/v1/messages", &body(json!({"stream": true}))).events();
    let started: Vec<_> = events.iter().filter(|event| event["type"] == "content_block_start").collect();
    assert_eq!(started.len(), 1);
    assert_eq!(started[0]["content_block"]["name"], "count_animals");
    let pieces = events.iter().filter(|event| event["delta"]["type"] == "input_json_delta");
    let input: String = pieces.filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(parsed(&json!(input)), block["input"]);
    let stopped = events.iter().filter(|event| event["type"] == "content_block_stop").count();
    assert_eq!(stopped, 1);
    let result = json!({"type": "tool_result", "tool_use_id": block["id"], "content": [{"type": "text", "text": "3"}]});
    let messages = json!([
        {"role": "user", "content": "How many dogs are there?"},
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": [result, {"type": "text", "text": "And cats?"}]},
    ]);
    server.post("/v1/messages", &body(json!({"messages": messages, "tool_choice": {"type": "auto"}}))).ok();
    let n = |messages: &Value| {
        server.post("/v1/messages/count_tokens", &body(json!({"messages": messages}))).ok()["input_tokens"].as_u64()
    };
    assert!(n(&messages) > n(&json!([{"role": "user", "content": "How many dogs are there?"}])));
}

#[test]
fn responses_have_calls_as_items() {
    let server = server();
    let tool = with(function(), json!({"type": "function"}));
    let body = |more: Value| {
        let body = json!({"input": "How many dogs are there?", "max_output_tokens": 160, "tools": [tool], "tool_choice": "required", "parallel_tool_calls": false});
        with(body, more)
    };
    let response = server.post("/v1/responses", &body(json!({}))).ok();
    let item = &response["output"][0];
    assert_eq!(
        (&item["type"], &item["name"], &item["status"]),
        (&json!("function_call"), &json!("count_animals"), &json!("completed"))
    );
    assert_kept(&parsed(&item["arguments"]));
    let events = server.post("/v1/responses", &body(json!({"stream": true}))).events();
    let numbers: Vec<_> = events.iter().filter_map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let of = |name: &str| events.iter().filter(|event| event["type"] == name).cloned().collect::<Vec<_>>();
    let added = of("response.output_item.added");
    assert_eq!((added.len(), &added[0]["item"]["arguments"]), (1, &json!("")));
    let pieces: String = of("response.function_call_arguments.delta")
        .iter()
        .filter_map(|event| event["delta"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(json!(pieces), item["arguments"]);
    assert_eq!(of("response.function_call_arguments.done")[0]["arguments"], item["arguments"]);
    assert_eq!(of("response.output_item.done")[0]["item"]["status"], "completed");
    let input = json!([
        {"role": "user", "content": "How many dogs are there?"},
        item,
        {"type": "function_call_output", "call_id": item["call_id"], "output": "3"},
    ]);
    server.post("/v1/responses", &body(json!({"input": input, "tool_choice": "auto"}))).ok();
}

#[test]
fn ollamas_clients_are_told_of_calls_as_objects() {
    let server = server();
    let tools = json!([{"type": "function", "function": function()}]);
    let body = |more: Value| {
        let messages = json!([{"role": "user", "content": "How many dogs are there?"}]);
        // Its clients cannot demand a call; the field is the chat endpoint's.
        with(
            json!({"messages": messages, "tools": tools, "tool_choice": "required", "parallel_tool_calls": false, "options": {"num_predict": 160}}),
            more,
        )
    };
    let whole = server.post("/api/chat", &body(json!({"stream": false}))).ok();
    let call = &whole["message"]["tool_calls"][0]["function"];
    assert_eq!((&call["name"], &whole["done_reason"]), (&json!("count_animals"), &json!("stop")));
    assert_kept(&call["arguments"]);
    let lines = server.post("/api/chat", &body(json!({}))).text;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<_> = lines.iter().filter(|line| line["message"]["tool_calls"].is_array()).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["message"]["tool_calls"][0]["function"], *call);
    let messages = json!([
        {"role": "user", "content": "How many dogs are there?"},
        whole["message"],
        {"role": "tool", "tool_name": "count_animals", "content": "3"},
    ]);
    server.post("/api/chat", &body(json!({"messages": messages, "stream": false, "tool_choice": "auto"}))).ok();
}
