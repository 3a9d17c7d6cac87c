//! What a request has come to, with the times that clients are told.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::app::App;
use super::error::Error;
use super::job::Job;
use super::running::Running;
use crate::generate::event::StopReason;
use crate::generate::probs::Position;
use crate::generate::said::Delta;
use crate::generate::{Answer, Event, Finish, Said};

/// An answer as it grows.
#[derive(Debug)]
pub struct Outcome {
    pub answer: Answer,
    /// Its words, told from what it calls.
    pub said: Said,
    began: Instant,
    /// How long the prompt took to read, once it is read.
    read: Option<Duration>,
    wrote: Duration,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            answer: Answer::default(),
            said: Said::default(),
            began: Instant::now(),
            read: None,
            wrote: Duration::ZERO,
        }
    }
}

impl Outcome {
    /// Takes in an event; what it adds.
    pub fn add(&mut self, event: Event) -> Vec<Delta> {
        // The engine's own clock, as soon as it tells: events may come in bundles.
        let by_engine = match &event {
            Event::Done(done) if done.seconds > 0.0 => Some((done.prompt_seconds, done.seconds)),
            _ => None,
        };
        match event {
            Event::Started(ref started) => {
                self.began = Instant::now();
                self.said = Said::new(started.calls.as_ref());
            }
            Event::Token(_) | Event::Done(_) | Event::Failed(_) => {
                let all = self.began.elapsed();
                self.wrote = all.saturating_sub(*self.read.get_or_insert(all));
            }
            _ => {}
        }
        if let Some((read, wrote)) = by_engine {
            self.read = Some(Duration::from_secs_f64(read));
            self.wrote = Duration::from_secs_f64(wrote);
        }
        let is_last = event.is_last();
        let text = self.answer.add(event);
        self.said.hear(&text, is_last)
    }

    /// Takes in an event; what it adds, and which positions.
    pub fn grow(&mut self, event: Event) -> (Vec<Delta>, Range<usize>) {
        let n = self.answer.positions.len();
        let deltas = self.add(event);
        (deltas, n..self.answer.positions.len())
    }

    /// The same where nothing can be called: the text that it adds.
    pub fn grow_text(&mut self, event: Event) -> (String, Range<usize>) {
        let (deltas, new) = self.grow(event);
        (deltas.into_iter().map(Delta::into_text).collect(), new)
    }

    /// Runs a request to its end.
    pub async fn of(mut running: Running) -> Result<Self, Error> {
        let mut outcome = Self::default();
        while let Some(event) = running.next().await {
            outcome.add(event);
        }
        match outcome.answer.failure.take() {
            Some(failure) => Err(failure.into()),
            None => Ok(outcome),
        }
    }

    /// Runs jobs to their ends, as many at a time as there are slots, so that a long list of them does not fill the queue.
    pub async fn of_all(app: &Arc<App>, jobs: Vec<Job>) -> Result<Vec<Self>, Error> {
        let run = |job| async { Self::of(Running::start(app, job)?).await };
        stream::iter(jobs).map(run).buffered(app.n_slots().max(1)).try_collect().await
    }

    /// Tokens of the prompt of the role that is sampled, and how many of them it held already.
    pub fn prompt(&self) -> (usize, usize) {
        self.answer.started.prompts.first().map_or((0, 0), |prompt| (prompt.tokens.len(), prompt.n_cached))
    }

    /// What is known of the tokens of the text. Those of a stop string are not part of it.
    pub fn positions(&self) -> &[Position] {
        let Answer { positions, text, stopped_by, .. } = &self.answer;
        if !matches!(stopped_by, Some(StopReason::Text(_))) {
            return positions;
        }
        let mut n_bytes = 0;
        let is_told = |position: &&Position| {
            let begins_at = n_bytes;
            n_bytes += position.chosen.bytes.len();
            begins_at < text.len()
        };
        &positions[..positions.iter().take_while(is_told).count()]
    }

    /// Since it began, with what it took to read the prompt.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// `stop`, `length` or `tool_calls`.
    pub fn finish_reason(&self) -> &'static str {
        match self.answer.finish {
            Some(Finish::Stop) if !self.said.calls.is_empty() => "tool_calls",
            finish => finish.map_or("stop", Finish::name),
        }
    }

    /// Puts what is not as it was asked for into an object, if there is such.
    pub fn add_notes(&self, object: &mut Value) {
        if !self.answer.notes.is_empty() {
            object["notes"] = json!(self.answer.notes);
        }
    }

    /// How long the prompt took to read, and the answer to write.
    pub fn times(&self) -> (Duration, Duration) {
        (self.read.unwrap_or_default(), self.wrote)
    }

    /// llama-server's `timings`.
    pub fn timings(&self) -> Value {
        let (n_prompt, n_cached) = self.prompt();
        let (n_read, n_written) = (n_prompt - n_cached.min(n_prompt), self.answer.tokens.len());
        let per = |n: usize, spent: Duration| {
            let ms = spent.as_secs_f64() * 1e3;
            let each = if n > 0 { ms / n as f64 } else { 0.0 };
            (ms, each, if ms > 0.0 { n as f64 * 1e3 / ms } else { 0.0 })
        };
        let (prompt_ms, prompt_each, prompt_speed) = per(n_read, self.read.unwrap_or_default());
        let (predicted_ms, predicted_each, predicted_speed) = per(n_written, self.wrote);
        let mut timings = json!({
            "cache_n": n_cached,
            "prompt_n": n_read, "prompt_ms": prompt_ms, "prompt_per_token_ms": prompt_each,
            "prompt_per_second": prompt_speed,
            "predicted_n": n_written, "predicted_ms": predicted_ms, "predicted_per_token_ms": predicted_each,
            "predicted_per_second": predicted_speed,
        });
        let drafts = self.answer.stats.all();
        if drafts.n_drafted > 0 {
            timings["draft_n"] = json!(drafts.n_drafted);
            timings["draft_n_accepted"] = json!(drafts.n_accept);
        }
        timings
    }
}

/// `OpenAI`'s `usage` of texts that continue the same prompt, or each its own.
pub fn usage(outcomes: &[Outcome], n_prompts: usize) -> Value {
    let every = (outcomes.len() / n_prompts.max(1)).max(1);
    let prompts = outcomes.iter().step_by(every).map(Outcome::prompt);
    let (n_prompt, n_cached) = prompts.fold((0, 0), |(n, cached), prompt| (n + prompt.0, cached + prompt.1));
    let n_written: usize = outcomes.iter().map(|outcome| outcome.answer.tokens.len()).sum();
    json!({
        "prompt_tokens": n_prompt, "completion_tokens": n_written, "total_tokens": n_prompt + n_written,
        "prompt_tokens_details": {"cached_tokens": n_cached},
    })
}
