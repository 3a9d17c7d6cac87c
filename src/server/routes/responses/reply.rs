//! Answers as response objects, whole and in events.

use serde_json::{Value, json};

use crate::generate::probs::Position;
use crate::generate::said::Delta;
use crate::generate::{Event, Finish};
use crate::prompt::Call;
use crate::server::app::now;
use crate::server::error::{Error, ErrorKind};
use crate::server::outcome::Outcome;
use crate::server::sse::{Dialect, Frame};
use crate::server::wire::completion::Asked;
use crate::server::wire::explain::Explain;
use crate::server::wire::{id, logprobs};

/// What is the same in all that is told of a response.
#[derive(Debug, Default)]
pub struct Teller {
    message_id: String,
    /// The response without what the answer decides.
    object: Value,
    /// Candidates for each token, where log-probabilities are told.
    n_logprobs: Option<usize>,
    explain: Explain,
}

impl Teller {
    pub fn new(asked: &Asked<'_>, body: &Value, n_logprobs: Option<usize>) -> Self {
        let sampling = &asked.job.request.sampling;
        let echoed = |name: &str| body.get(name).cloned().unwrap_or(Value::Null);
        let format = body["text"].get("format").cloned().unwrap_or_else(|| json!({"type": "text"}));
        let metadata = body.get("metadata").filter(|data| data.is_object()).cloned().unwrap_or_else(|| json!({}));
        let object = json!({
            "id": id("resp_"), "object": "response", "created_at": now(), "model": asked.model.id(),
            "background": false, "error": null, "instructions": echoed("instructions"),
            "max_output_tokens": echoed("max_output_tokens"), "metadata": metadata,
            "parallel_tool_calls": body["parallel_tool_calls"].as_bool().unwrap_or(true),
            "previous_response_id": null, "reasoning": {"effort": null, "summary": null}, "store": false,
            "temperature": sampling.temp, "top_p": sampling.top_p, "text": {"format": format},
            "tool_choice": body.get("tool_choice").cloned().unwrap_or_else(|| json!("auto")),
            "tools": body.get("tools").cloned().unwrap_or_else(|| json!([])), "top_logprobs": body["top_logprobs"].as_u64().unwrap_or(0), "truncation": "disabled",
            "user": null,
        });
        Self { message_id: id("msg_"), object, n_logprobs, explain: Explain::of(asked) }
    }

    /// The id of the response.
    pub fn id(&self) -> &str {
        self.object["id"].as_str().unwrap_or_default()
    }

    /// The response to an input; without one nothing was to be answered.
    pub fn whole(&self, outcome: Option<&Outcome>) -> Value {
        let (status, reason) = match outcome.map(|outcome| outcome.answer.finish) {
            Some(Some(Finish::Length)) => ("incomplete", json!({"reason": "max_output_tokens"})),
            _ => ("completed", Value::Null),
        };
        let output = outcome.map_or_else(Vec::new, |outcome| self.output(status, outcome));
        let mut response = self.response(status, &output);
        response["incomplete_details"] = reason;
        response["usage"] = usage(outcome);
        if let Some(outcome) = outcome {
            self.explain.add(&mut response, outcome.positions());
            outcome.add_notes(&mut response);
        }
        response
    }

    fn response(&self, status: &str, output: &[Value]) -> Value {
        let mut response = self.object.clone();
        response["status"] = json!(status);
        response["output"] = json!(output);
        response["incomplete_details"] = Value::Null;
        response["usage"] = Value::Null;
        response
    }

    /// The message, if there are words, and the calls.
    fn output(&self, status: &str, outcome: &Outcome) -> Vec<Value> {
        let said = &outcome.said;
        let mut output = Vec::new();
        if !said.text.is_empty() || said.calls.is_empty() {
            output.push(self.message(status, &[self.part(outcome)]));
        }
        output.extend(said.calls.iter().map(|whole| call(status, whole)));
        output
    }

    fn message(&self, status: &str, content: &[Value]) -> Value {
        json!({"id": self.message_id, "type": "message", "role": "assistant", "status": status, "content": content})
    }

    fn logprobs(&self, positions: &[Position]) -> Value {
        self.n_logprobs.map_or_else(|| json!([]), |n_top| logprobs::contents(positions, n_top))
    }

    fn part(&self, outcome: &Outcome) -> Value {
        let logprobs = self.logprobs(outcome.positions());
        json!({"type": "output_text", "text": outcome.said.text, "annotations": [], "logprobs": logprobs})
    }
}

fn usage(outcome: Option<&Outcome>) -> Value {
    let ((n_prompt, n_cached), n_written) =
        outcome.map_or(((0, 0), 0), |outcome| (outcome.prompt(), outcome.answer.tokens.len()));
    json!({
        "input_tokens": n_prompt, "input_tokens_details": {"cached_tokens": n_cached, "cache_write_tokens": 0},
        "output_tokens": n_written, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": n_prompt + n_written,
    })
}

/// A call as an item.
fn call(status: &str, call: &Call) -> Value {
    json!({
        "id": format!("fc_{}", call.id), "type": "function_call", "status": status, "call_id": call.id, "name": call.name,
        "arguments": call.arguments,
    })
}

/// The response in events: a message with one part of text, and the calls behind it.
#[derive(Default)]
pub struct Parts {
    teller: Teller,
    /// Of the one text, if there is one.
    outcome: Option<Outcome>,
    n_told: u64,
    /// The items so far, and the one that is open.
    n_items: usize,
    open: Option<Item>,
}

/// An item of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Message,
    /// The call of this number.
    Call(usize),
}

impl Parts {
    pub fn new(teller: Teller) -> Self {
        Self { teller, ..Self::default() }
    }

    /// An event, under the next number.
    fn frame(&mut self, name: &'static str, mut data: Value) -> Frame {
        data["type"] = json!(name);
        data["sequence_number"] = json!(self.n_told);
        self.n_told += 1;
        Frame::named(name, data)
    }

    /// An event of the part of text.
    fn of_part(&mut self, name: &'static str, mut data: Value) -> Frame {
        data["item_id"] = json!(self.teller.message_id);
        (data["output_index"], data["content_index"]) = (json!(self.n_items - 1), json!(0));
        self.frame(name, data)
    }

    fn begin(&mut self) -> Vec<Frame> {
        let response = self.teller.response("in_progress", &[]);
        vec![
            self.frame("response.created", json!({"response": response})),
            self.frame("response.in_progress", json!({"response": response})),
        ]
    }
}

impl Parts {
    /// Begins the message, in which the words are.
    fn open_message(&mut self) -> Vec<Frame> {
        let mut frames = self.close("completed");
        (self.n_items, self.open) = (self.n_items + 1, Some(Item::Message));
        let item = self.teller.message("in_progress", &[]);
        let index = self.n_items - 1;
        frames.push(self.frame("response.output_item.added", json!({"output_index": index, "item": item})));
        let part = json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []});
        frames.push(self.of_part("response.content_part.added", json!({"part": part})));
        frames
    }

    fn open_call(&mut self, n: usize, id: &str, name: &str) -> Vec<Frame> {
        let mut frames = self.close("completed");
        (self.n_items, self.open) = (self.n_items + 1, Some(Item::Call(n)));
        let begun = Call { id: id.to_owned(), name: name.to_owned(), arguments: String::new() };
        let item = json!({"output_index": self.n_items - 1, "item": call("in_progress", &begun)});
        frames.push(self.frame("response.output_item.added", item));
        frames
    }

    /// Ends the item that is open.
    fn close(&mut self, status: &str) -> Vec<Frame> {
        let Some(open) = self.open.take() else { return Vec::new() };
        let Some(outcome) = self.outcome.take() else { return Vec::new() };
        let index = self.n_items - 1;
        let mut frames = Vec::new();
        let item = match open {
            Item::Message => {
                let part = self.teller.part(&outcome);
                let text = json!({"text": part["text"], "logprobs": part["logprobs"]});
                frames.push(self.of_part("response.output_text.done", text));
                frames.push(self.of_part("response.content_part.done", json!({"part": part})));
                self.teller.message(status, &[part])
            }
            Item::Call(n) => {
                let whole = &outcome.said.calls[n];
                let item = call(status, whole);
                let done = json!({
                    "output_index": index, "item_id": item["id"], "name": whole.name, "arguments": whole.arguments,
                });
                frames.push(self.frame("response.function_call_arguments.done", done));
                item
            }
        };
        frames.push(self.frame("response.output_item.done", json!({"output_index": index, "item": item})));
        self.outcome = Some(outcome);
        frames
    }
}

impl Dialect for Parts {
    fn event(&mut self, _: usize, event: Event) -> Vec<Frame> {
        let is_first = matches!(event, Event::Started(_));
        let outcome = self.outcome.get_or_insert_default();
        let (mut deltas, new) = outcome.grow(event);
        let mut new = outcome.answer.positions[new].to_vec();
        let may_call = outcome.answer.started.calls.is_some();
        if is_first {
            let mut frames = self.begin();
            // An answer may have no words where it can call something.
            if !may_call {
                frames.extend(self.open_message());
            }
            return frames;
        }
        if deltas.is_empty() && !new.is_empty() && self.open == Some(Item::Message) {
            deltas.push(Delta::Text(String::new()));
        }
        let mut frames = Vec::new();
        for delta in deltas {
            match delta {
                Delta::Text(text) => {
                    if self.open != Some(Item::Message) {
                        frames.extend(self.open_message());
                    }
                    let new = std::mem::take(&mut new);
                    let logprobs = self.teller.logprobs(&new);
                    let mut delta = json!({"delta": text, "logprobs": logprobs});
                    self.teller.explain.add(&mut delta, &new);
                    frames.push(self.of_part("response.output_text.delta", delta));
                }
                Delta::Call { index, id, name } => frames.extend(self.open_call(index, &id, &name)),
                Delta::Arguments { index, text } => {
                    let id = self.outcome.as_ref().map(|outcome| format!("fc_{}", outcome.said.calls[index].id));
                    let delta = json!({"output_index": self.n_items - 1, "item_id": id, "delta": text});
                    frames.push(self.frame("response.function_call_arguments.delta", delta));
                }
            }
        }
        frames
    }

    fn end(&mut self) -> Vec<Frame> {
        let whole = self.teller.whole(self.outcome.as_ref());
        let status = whole["status"].as_str().unwrap_or_default().to_owned();
        let mut frames = if self.outcome.is_none() { self.begin() } else { Vec::new() };
        if self.outcome.is_some() && self.n_items == 0 {
            frames.extend(self.open_message());
        }
        frames.extend(self.close(&status));
        let name = if status == "completed" { "response.completed" } else { "response.incomplete" };
        frames.push(self.frame(name, json!({"response": whole})));
        frames
    }

    fn failed(&mut self, error: &Error) -> Vec<Frame> {
        let code = match error.kind() {
            ErrorKind::Busy => "rate_limit_exceeded",
            ErrorKind::Invalid | ErrorKind::Unsupported | ErrorKind::ContextLength => "invalid_prompt",
            _ => "server_error",
        };
        let mut response = self.teller.response("failed", &[]);
        response["error"] = json!({"code": code, "message": error.to_string()});
        vec![self.frame("response.failed", json!({"response": response}))]
    }
}

#[cfg(test)]
mod tests;
