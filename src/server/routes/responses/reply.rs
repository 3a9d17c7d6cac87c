//! Answers as response objects, whole and in events.

use serde_json::{Value, json};

use crate::generate::{Event, Finish};
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
    with_logprobs: bool,
    explain: Explain,
}

impl Teller {
    pub fn new(asked: &Asked<'_>, body: &Value, with_logprobs: bool) -> Self {
        let sampling = &asked.job.request.sampling;
        let echoed = |name: &str| body.get(name).cloned().unwrap_or(Value::Null);
        let format = body["text"].get("format").cloned().unwrap_or_else(|| json!({"type": "text"}));
        let metadata = body.get("metadata").filter(|data| data.is_object()).cloned().unwrap_or_else(|| json!({}));
        let object = json!({
            "id": id("resp_"), "object": "response", "created_at": now(), "model": asked.model.id(),
            "background": false, "error": null, "instructions": echoed("instructions"),
            "max_output_tokens": echoed("max_output_tokens"), "metadata": metadata, "parallel_tool_calls": false,
            "previous_response_id": null, "reasoning": {"effort": null, "summary": null}, "store": false,
            "temperature": sampling.temp, "top_p": sampling.top_p, "text": {"format": format}, "tool_choice": "auto",
            "tools": [], "top_logprobs": body["top_logprobs"].as_u64().unwrap_or(0), "truncation": "disabled",
            "user": null,
        });
        Self { message_id: id("msg_"), object, with_logprobs, explain: Explain::of(asked) }
    }

    /// The response to an input; without one nothing was to be answered.
    pub fn whole(&self, outcome: Option<&Outcome>) -> Value {
        let (status, reason) = match outcome.map(|outcome| outcome.answer.finish) {
            Some(Some(Finish::Length)) => ("incomplete", json!({"reason": "max_output_tokens"})),
            _ => ("completed", Value::Null),
        };
        let output: Vec<_> = outcome.map(|outcome| self.message(status, &[self.part(outcome)])).into_iter().collect();
        let mut response = self.response(status, &output);
        response["incomplete_details"] = reason;
        response["usage"] = usage(outcome);
        if let Some(outcome) = outcome {
            self.explain.add(&mut response, outcome.positions());
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

    fn message(&self, status: &str, content: &[Value]) -> Value {
        json!({"id": self.message_id, "type": "message", "role": "assistant", "status": status, "content": content})
    }

    fn part(&self, outcome: &Outcome) -> Value {
        let answer = &outcome.answer;
        let logprobs: Vec<_> =
            if self.with_logprobs { outcome.positions().iter().map(logprobs::content).collect() } else { Vec::new() };
        json!({"type": "output_text", "text": answer.text, "annotations": [], "logprobs": logprobs})
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

/// The response in events: one message with one part of text.
#[derive(Default)]
pub struct Parts {
    teller: Teller,
    /// Of the one text, if there is one.
    outcome: Option<Outcome>,
    n_told: u64,
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
        (data["output_index"], data["content_index"]) = (json!(0), json!(0));
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

impl Dialect for Parts {
    fn event(&mut self, _: usize, event: Event) -> Vec<Frame> {
        let is_first = matches!(event, Event::Started(_));
        let outcome = self.outcome.get_or_insert_default();
        let (text, new) = outcome.grow(event);
        let new = &outcome.answer.positions[new];
        let is_empty = text.is_empty() && new.is_empty();
        let logprobs: Vec<_> = new.iter().filter(|_| self.teller.with_logprobs).map(logprobs::content).collect();
        let mut delta = json!({"delta": text, "logprobs": logprobs});
        self.teller.explain.add(&mut delta, new);
        if is_first {
            let mut frames = self.begin();
            let item = self.teller.message("in_progress", &[]);
            frames.push(self.frame("response.output_item.added", json!({"output_index": 0, "item": item})));
            let part = json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []});
            frames.push(self.of_part("response.content_part.added", json!({"part": part})));
            return frames;
        }
        if is_empty {
            return Vec::new();
        }
        vec![self.of_part("response.output_text.delta", delta)]
    }

    fn end(&mut self) -> Vec<Frame> {
        let whole = self.teller.whole(self.outcome.as_ref());
        let mut frames = Vec::new();
        if let Some(outcome) = &self.outcome {
            let part = self.teller.part(outcome);
            let text = json!({"text": part["text"], "logprobs": part["logprobs"]});
            let item = whole["output"][0].clone();
            frames.push(self.of_part("response.output_text.done", text));
            frames.push(self.of_part("response.content_part.done", json!({"part": part})));
            frames.push(self.frame("response.output_item.done", json!({"output_index": 0, "item": item})));
        } else {
            frames = self.begin();
        }
        let is_whole = whole["status"] == "completed";
        let name = if is_whole { "response.completed" } else { "response.incomplete" };
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
