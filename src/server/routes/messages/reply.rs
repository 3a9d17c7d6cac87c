//! Answers in Anthropic's words, whole and in events.

use serde_json::{Value, json};

use crate::generate::event::StopReason;
use crate::generate::{Answer, Event, Finish};
use crate::server::error::Error;
use crate::server::outcome::Outcome;
use crate::server::routes::errors::anthropic;
use crate::server::sse::{Dialect, Frame};
use crate::server::wire::completion::Asked;
use crate::server::wire::explain::Explain;
use crate::server::wire::id;

/// What is the same in all that is told of a message.
#[derive(Debug, Default)]
pub struct Teller {
    id: String,
    model: String,
    explain: Explain,
}

impl Teller {
    pub fn new(asked: &Asked<'_>) -> Self {
        Self { id: id("msg_"), model: asked.model.id(), explain: Explain::of(asked) }
    }

    pub fn whole(&self, outcome: &Outcome) -> Value {
        let answer = &outcome.answer;
        let mut message = self.message(outcome);
        message["content"] = json!([{"type": "text", "text": answer.text}]);
        (message["stop_reason"], message["stop_sequence"]) = stop(answer);
        self.explain.add(&mut message, outcome.positions());
        message
    }

    /// A message without content.
    fn message(&self, outcome: &Outcome) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage(outcome),
        })
    }
}

/// Tokens of the prompt that are held already are counted by themselves.
fn usage(outcome: &Outcome) -> Value {
    let (n_prompt, n_cached) = outcome.prompt();
    json!({
        "input_tokens": n_prompt.saturating_sub(n_cached), "cache_read_input_tokens": n_cached,
        "cache_creation_input_tokens": 0, "output_tokens": outcome.answer.tokens.len(),
    })
}

/// Why an answer ended, and the text that ended it.
fn stop(answer: &Answer) -> (Value, Value) {
    match (answer.finish, &answer.stopped_by) {
        (Some(Finish::Stop), Some(StopReason::Text(text))) => (json!("stop_sequence"), json!(text)),
        (Some(Finish::Length), _) if answer.is_full => (json!("model_context_window_exceeded"), Value::Null),
        (Some(Finish::Length), _) => (json!("max_tokens"), Value::Null),
        _ => (json!("end_turn"), Value::Null),
    }
}

/// The message in events, its text in one block.
#[derive(Default)]
pub struct Blocks {
    teller: Teller,
    outcome: Outcome,
}

impl Blocks {
    pub fn new(teller: Teller) -> Self {
        Self { teller, outcome: Outcome::default() }
    }
}

impl Dialect for Blocks {
    fn event(&mut self, _: usize, event: Event) -> Vec<Frame> {
        let is_first = matches!(event, Event::Started(_));
        let (text, new) = self.outcome.grow(event);
        let new = &self.outcome.answer.positions[new];
        if is_first {
            let message = self.teller.message(&self.outcome);
            let block = json!({"type": "text", "text": ""});
            return vec![
                Frame::named("message_start", json!({"type": "message_start", "message": message})),
                Frame::named(
                    "content_block_start",
                    json!({"type": "content_block_start", "index": 0, "content_block": block}),
                ),
                ping(),
            ];
        }
        if text.is_empty() && (new.is_empty() || !self.teller.explain.is_on()) {
            return Vec::new();
        }
        let delta = json!({"type": "text_delta", "text": text});
        let mut event = json!({"type": "content_block_delta", "index": 0, "delta": delta});
        self.teller.explain.add(&mut event, new);
        vec![Frame::named("content_block_delta", event)]
    }

    fn end(&mut self) -> Vec<Frame> {
        let (reason, text) = stop(&self.outcome.answer);
        let delta = json!({"stop_reason": reason, "stop_sequence": text});
        let delta = json!({"type": "message_delta", "delta": delta, "usage": usage(&self.outcome)});
        vec![
            Frame::named("content_block_stop", json!({"type": "content_block_stop", "index": 0})),
            Frame::named("message_delta", delta),
            Frame::named("message_stop", json!({"type": "message_stop"})),
        ]
    }

    fn failed(&mut self, error: &Error) -> Vec<Frame> {
        vec![Frame::named("error", anthropic(error))]
    }

    fn ping() -> Option<Frame> {
        Some(ping())
    }
}

fn ping() -> Frame {
    Frame::named("ping", json!({"type": "ping"}))
}

#[cfg(test)]
mod tests;
