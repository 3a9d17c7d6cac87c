//! Answers in Anthropic's words, whole and in events.

use serde_json::{Value, json};

use crate::generate::event::StopReason;
use crate::generate::probs::Position;
use crate::generate::said::Delta;
use crate::generate::{Event, Finish};
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

    /// The id of the message.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn whole(&self, outcome: &Outcome) -> Value {
        let mut message = self.message(outcome);
        let said = &outcome.said;
        let mut content = Vec::new();
        if !said.text.is_empty() || said.calls.is_empty() {
            content.push(json!({"type": "text", "text": said.text}));
        }
        content.extend(said.calls.iter().map(|call| {
            // An answer that was cut has no whole object.
            let input: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
            json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
        }));
        message["content"] = json!(content);
        (message["stop_reason"], message["stop_sequence"]) = stop(outcome);
        outcome.add_notes(&mut message);
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
fn stop(outcome: &Outcome) -> (Value, Value) {
    let answer = &outcome.answer;
    match (answer.finish, &answer.stopped_by) {
        (Some(Finish::Stop), Some(StopReason::Text(text))) => (json!("stop_sequence"), json!(text)),
        (Some(Finish::Length), _) if answer.is_full => (json!("model_context_window_exceeded"), Value::Null),
        (Some(Finish::Length), _) => (json!("max_tokens"), Value::Null),
        _ if outcome.finish_reason() == "tool_calls" => (json!("tool_use"), Value::Null),
        _ => (json!("end_turn"), Value::Null),
    }
}

/// The message in events: its words in a block, and every call in one.
#[derive(Default)]
pub struct Blocks {
    teller: Teller,
    outcome: Outcome,
    /// The block that is open, and whether it is one of words.
    open: Option<(usize, bool)>,
}

impl Blocks {
    pub fn new(teller: Teller) -> Self {
        Self { teller, ..Self::default() }
    }

    /// Opens a block behind the one that is open.
    fn begin(&mut self, is_words: bool, block: &Value) -> Vec<Frame> {
        let mut frames = self.close();
        let index = self.open.map_or(0, |(index, _)| index + 1);
        self.open = Some((index, is_words));
        let event = json!({"type": "content_block_start", "index": index, "content_block": block});
        frames.push(Frame::named("content_block_start", event));
        frames
    }

    fn close(&self) -> Vec<Frame> {
        let stop =
            |(index, _)| Frame::named("content_block_stop", json!({"type": "content_block_stop", "index": index}));
        self.open.map(stop).into_iter().collect()
    }

    fn add(&mut self, delta: &Value, positions: &[Position]) -> Frame {
        let index = self.open.map_or(0, |(index, _)| index);
        let mut event = json!({"type": "content_block_delta", "index": index, "delta": delta});
        self.teller.explain.add(&mut event, positions);
        Frame::named("content_block_delta", event)
    }
}

impl Dialect for Blocks {
    fn event(&mut self, _: usize, event: Event) -> Vec<Frame> {
        let is_first = matches!(event, Event::Started(_));
        let (mut deltas, new) = self.outcome.grow(event);
        let mut new = self.outcome.answer.positions[new].to_vec();
        let words = json!({"type": "text", "text": ""});
        if is_first {
            let message = self.teller.message(&self.outcome);
            let mut frames = vec![Frame::named("message_start", json!({"type": "message_start", "message": message}))];
            // An answer may have no words where it can call something.
            if self.outcome.answer.started.calls.is_none() {
                frames.extend(self.begin(true, &words));
            }
            frames.push(ping());
            return frames;
        }
        if deltas.is_empty()
            && !new.is_empty()
            && self.teller.explain.is_on()
            && self.open.is_some_and(|(_, words)| words)
        {
            deltas.push(Delta::Text(String::new()));
        }
        let mut frames = Vec::new();
        for delta in deltas {
            match delta {
                Delta::Text(text) => {
                    if !self.open.is_some_and(|(_, is_words)| is_words) {
                        frames.extend(self.begin(true, &words));
                    }
                    frames.push(self.add(&json!({"type": "text_delta", "text": text}), &std::mem::take(&mut new)));
                }
                Delta::Call { id, name, .. } => {
                    frames.extend(self.begin(false, &json!({"type": "tool_use", "id": id, "name": name, "input": {}})));
                }
                Delta::Arguments { text, .. } => {
                    let delta = json!({"type": "input_json_delta", "partial_json": text});
                    frames.push(self.add(&delta, &std::mem::take(&mut new)));
                }
            }
        }
        frames
    }

    fn end(&mut self) -> Vec<Frame> {
        let (reason, text) = stop(&self.outcome);
        let delta = json!({"stop_reason": reason, "stop_sequence": text});
        let mut delta = json!({"type": "message_delta", "delta": delta, "usage": usage(&self.outcome)});
        self.outcome.add_notes(&mut delta);
        let mut frames = self.close();
        frames.push(Frame::named("message_delta", delta));
        frames.push(Frame::named("message_stop", json!({"type": "message_stop"})));
        frames
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
