//! Counters for Prometheus: llama-server's, under its names, and a few of our own.
//!
//! Tokens of prompts are those of the role that is sampled, as clients are told them. What llama-server tells of single calls
//! of `llama_decode` is not told: one step here decodes several models.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::engine::Health;
use crate::generate::Event;

type Seconds = Counter<f64, AtomicU64>;
type Rate = Gauge<f64, AtomicU64>;
type Level = Gauge<i64, AtomicI64>;

/// What happened since the start.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    prompt_tokens: Counter,
    prompt_cached: Counter,
    prompt_seconds: Seconds,
    predicted_tokens: Counter,
    predicted_seconds: Seconds,
    longest: Level,
    drafted: Counter,
    accepted: Counter,
    drafts: Counter,
    accepted_by_place: Family<Place, Counter>,
    prompt_rate: Rate,
    predicted_rate: Rate,
    processing: Level,
    deferred: Level,
    replies: Family<Status, Counter>,
    restarts: Level,
    first_token: Histogram,
    last_read: Mutex<Window>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    position: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: u16,
}

/// Sums when they were read last: rates are of what came since.
#[derive(Debug, Default)]
struct Window {
    prompt: (u64, f64),
    predicted: (u64, f64),
}

/// What is remembered of a request while it runs.
#[derive(Debug)]
pub struct Watched {
    asked: Instant,
    n_prompt: usize,
    n_cached: usize,
    n_tokens: usize,
}

impl Default for Watched {
    fn default() -> Self {
        Self { asked: Instant::now(), n_prompt: 0, n_cached: 0, n_tokens: 0 }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            prompt_tokens: Counter::default(),
            prompt_cached: Counter::default(),
            prompt_seconds: Seconds::default(),
            predicted_tokens: Counter::default(),
            predicted_seconds: Seconds::default(),
            longest: Level::default(),
            drafted: Counter::default(),
            accepted: Counter::default(),
            drafts: Counter::default(),
            accepted_by_place: Family::default(),
            prompt_rate: Rate::default(),
            predicted_rate: Rate::default(),
            processing: Level::default(),
            deferred: Level::default(),
            replies: Family::default(),
            restarts: Level::default(),
            // From a millisecond to half a minute.
            first_token: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            last_read: Mutex::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    /// Gives every metric its name; `_total` is put behind those of counters.
    fn registered(mut self) -> Self {
        let mut registry = Registry::default();
        macro_rules! register {
            ($($field:ident $name:literal $help:literal),* $(,)?) => {
                $(registry.register($name, $help, self.$field.clone());)*
            };
        }
        register!(
            prompt_tokens "llamacpp:prompt_tokens" "Prompt tokens that were read, without cached ones",
            prompt_cached "llamacpp:prompt_tokens_cached" "Prompt tokens that were there already",
            prompt_seconds "llamacpp:prompt_seconds" "Time spent on reading prompts",
            predicted_tokens "llamacpp:tokens_predicted" "Tokens that were generated",
            predicted_seconds "llamacpp:tokens_predicted_seconds" "Time spent on generating tokens",
            longest "llamacpp:n_tokens_max" "Longest text so far, prompt and answer together",
            drafted "llamacpp:spec_decode_num_draft_tokens" "Tokens that were drafted",
            accepted "llamacpp:spec_decode_num_accepted_tokens" "Tokens of drafts that were accepted",
            drafts "llamacpp:spec_decode_num_drafts" "Steps that decoded a draft",
            accepted_by_place "llamacpp:spec_decode_num_accepted_tokens_per_pos" "Accepted tokens by their place in the draft",
            prompt_rate "llamacpp:prompt_tokens_seconds" "Prompt tokens a second since this was read last",
            predicted_rate "llamacpp:predicted_tokens_seconds" "Generated tokens a second since this was read last",
            processing "llamacpp:requests_processing" "Texts that have a slot",
            deferred "llamacpp:requests_deferred" "Requests that wait for a slot",
            replies "proxytune:http_requests" "Replies by their HTTP status",
            restarts "proxytune:engine_restarts" "How often the engine was started again",
            first_token "proxytune:time_to_first_token_seconds" "From a request to its first token",
        );
        self.registry = registry;
        self
    }

    /// A reply that was begun.
    pub fn add_reply(&self, status: u16) {
        self.replies.get_or_create(&Status { status }).inc();
    }

    /// An event of a request.
    pub fn add(&self, watched: &mut Watched, event: &Event) {
        match event {
            Event::Started(started) => {
                if let Some(prompt) = started.prompts.first() {
                    (watched.n_prompt, watched.n_cached) = (prompt.tokens.len(), prompt.n_cached);
                }
            }
            Event::Token(_) => {
                if watched.n_tokens == 0 {
                    self.first_token.observe(watched.asked.elapsed().as_secs_f64());
                }
                watched.n_tokens += 1;
                self.predicted_tokens.inc();
            }
            Event::Done(done) => {
                self.prompt_tokens.inc_by(watched.n_prompt.saturating_sub(watched.n_cached) as u64);
                self.prompt_cached.inc_by(watched.n_cached as u64);
                self.prompt_seconds.inc_by(done.prompt_seconds);
                self.predicted_seconds.inc_by(done.seconds);
                let stats = &done.stats;
                let all = stats.all();
                self.drafted.inc_by(all.n_drafted as u64);
                self.accepted.inc_by(all.n_accept as u64);
                // Steps of two tokens and more have a draft behind the first.
                self.drafts.inc_by(stats.steps.iter().skip(2).sum::<usize>() as u64);
                for (position, place) in stats.by_place.iter().enumerate() {
                    let place_of = Place { position: position as u64 };
                    self.accepted_by_place.get_or_create(&place_of).inc_by(place.n_accept as u64);
                }
                let n = (watched.n_prompt + watched.n_tokens) as i64;
                self.longest.inner().fetch_max(n, std::sync::atomic::Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// Everything, as Prometheus reads it.
    pub fn text(&self, health: &Health) -> Result<String, std::fmt::Error> {
        self.processing.set(health.n_running as i64);
        self.deferred.set(health.n_waiting as i64);
        self.restarts.set(health.n_restarts as i64);
        let rate = |(n, seconds): (u64, f64), (n_before, before): (u64, f64)| {
            if seconds > before { (n - n_before) as f64 / (seconds - before) } else { 0.0 }
        };
        let now = Window {
            prompt: (self.prompt_tokens.get(), self.prompt_seconds.get()),
            predicted: (self.predicted_tokens.get(), self.predicted_seconds.get()),
        };
        let mut last = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        self.prompt_rate.set(rate(now.prompt, last.prompt));
        self.predicted_rate.set(rate(now.predicted, last.predicted));
        *last = now;
        drop(last);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
