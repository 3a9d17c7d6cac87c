//! Answers in Ollama's words, whole and in lines.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::generate::probs::Position;
use crate::generate::{Event, Finish};
use crate::prompt::Call;
use crate::server::error::Error;
use crate::server::outcome::Outcome;
use crate::server::routes::errors::ollama;
use crate::server::sse::{Dialect, Frame};
use crate::server::wire::completion::Asked;
use crate::server::wire::explain::Explain;
use crate::server::wire::logprobs;

/// What is the same in all that is told of an answer.
#[derive(Debug, Default)]
pub struct Teller {
    model: String,
    /// Candidates for each token, where log-probabilities are told.
    n_logprobs: Option<usize>,
    explain: Explain,
}

impl Teller {
    pub fn new(asked: &Asked<'_>, model: String, n_logprobs: Option<usize>) -> Self {
        Self { model, n_logprobs, explain: Explain::of(asked) }
    }

    /// What answers a request without messages.
    pub fn loaded(&self) -> Value {
        let mut line = self.line("", &[]);
        (line["done"], line["done_reason"]) = (json!(true), json!("load"));
        line
    }

    pub fn whole(&self, outcome: &Outcome) -> Value {
        let mut whole = self.last(outcome, &outcome.said.text, outcome.positions());
        if !outcome.said.calls.is_empty() {
            whole["message"]["tool_calls"] = outcome.said.calls.iter().map(call).collect();
        }
        whole
    }

    /// A piece of the answer.
    fn line(&self, text: &str, positions: &[Position]) -> Value {
        let mut line = json!({
            "model": self.model, "created_at": Timestamp::now().to_string(),
            "message": {"role": "assistant", "content": text}, "done": false,
        });
        if let Some(n_top) = self.n_logprobs.filter(|_| !positions.is_empty()) {
            line["logprobs"] = logprobs::contents(positions, n_top);
        }
        self.explain.add(&mut line, positions);
        line
    }

    /// The piece behind which nothing comes: with counts, and times in nanoseconds.
    fn last(&self, outcome: &Outcome, text: &str, positions: &[Position]) -> Value {
        let mut line = self.line(text, positions);
        let (read, wrote) = outcome.times();
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let facts = json!({
            "done": true, "done_reason": outcome.answer.finish.map_or("stop", Finish::name),
            "total_duration": ns(read + wrote), "load_duration": 0,
            "prompt_eval_count": outcome.prompt().0, "prompt_eval_duration": ns(read),
            "eval_count": outcome.answer.tokens.len(), "eval_duration": ns(wrote),
        });
        for (name, fact) in facts.as_object().into_iter().flatten() {
            line[name] = fact.clone();
        }
        outcome.add_notes(&mut line);
        line
    }
}

/// The answer in lines.
#[derive(Default)]
pub struct Lines {
    teller: Teller,
    outcome: Outcome,
    /// Calls that were told.
    n_called: usize,
}

impl Lines {
    pub fn new(teller: Teller) -> Self {
        Self { teller, ..Self::default() }
    }

    /// A line for every call that is whole, which it is when the next one begins.
    fn calls(&mut self, is_over: bool) -> Vec<Frame> {
        let calls = &self.outcome.said.calls;
        let n_whole = if is_over { calls.len() } else { calls.len().saturating_sub(1) };
        let told = calls[self.n_called.min(n_whole)..n_whole].iter().map(|whole| {
            let mut line = self.teller.line("", &[]);
            line["message"]["tool_calls"] = json!([call(whole)]);
            Frame::data(line)
        });
        let frames = told.collect();
        self.n_called = n_whole;
        frames
    }
}

/// A call in Ollama's words.
fn call(call: &Call) -> Value {
    // An answer that was cut has no whole object.
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
    json!({"id": call.id, "function": {"name": call.name, "arguments": arguments}})
}

impl Dialect for Lines {
    fn event(&mut self, _: usize, event: Event) -> Vec<Frame> {
        let (text, new) = self.outcome.grow_text(event);
        let new = &self.outcome.answer.positions[new];
        let mut frames = Vec::new();
        if !text.is_empty() || !new.is_empty() {
            frames.push(Frame::data(self.teller.line(&text, new)));
        }
        frames.extend(self.calls(false));
        frames
    }

    fn end(&mut self) -> Vec<Frame> {
        let mut frames = self.calls(true);
        frames.push(Frame::data(self.teller.last(&self.outcome, "", &[])));
        frames
    }

    fn failed(&mut self, error: &Error) -> Vec<Frame> {
        vec![Frame::data(ollama(error))]
    }
}

#[cfg(test)]
mod tests;
