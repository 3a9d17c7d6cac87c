//! `POST /v1/chat/completions`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::generate::probs::Position;
use crate::generate::{Event, Input};
use crate::server::app::{App, now};
use crate::server::body::{Object, read};
use crate::server::error::Error;
use crate::server::outcome::{Outcome, usage};
use crate::server::running::Running;
use crate::server::sse::{self, Dialect, Frame};
use crate::server::wire::completion::{Asked, asked, count, flag};
use crate::server::wire::explain::Explain;
use crate::server::wire::id;
use crate::server::wire::limits::LimitFields;
use crate::server::wire::messages::{MessageField, conversation, refuse_of_template};
use crate::server::wire::sampling::SamplingFields;
use crate::server::wire::steering::SteeringFields;
use crate::server::wire::{logprobs, response_format, steering, tools};

/// Most choices of one request.
pub const MAX_CHOICES: usize = 128;
/// Most candidates for each token.
pub const MAX_TOP_LOGPROBS: usize = 256;

/// A conversation to be answered. Fields that are not listed are left alone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ChatRequest {
    /// An id of `/v1/models`; without one the first.
    pub model: Option<String>,
    pub messages: Vec<MessageField>,
    #[serde(default)]
    pub stream: Option<bool>,
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// Choices to generate.
    #[serde(default)]
    pub n: Option<usize>,
    #[serde(default)]
    pub logprobs: Option<bool>,
    /// Candidates for each token.
    #[serde(default)]
    pub top_logprobs: Option<usize>,
    /// `{"type": "text"}`, `json_object`, or `json_schema` with a schema.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub response_format: Option<Value>,
    /// Functions that the answer may call.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Value>,
    /// `auto`, `none`, `required`, or a function's name in `{"type": "function", "function": {"name"}}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub tool_choice: Option<Value>,
    /// Several calls in one answer; true where it is left out.
    #[serde(default)]
    pub parallel_tool_calls: Option<bool>,
    #[serde(flatten)]
    pub sampling: SamplingFields,
    #[serde(flatten)]
    pub limits: LimitFields,
    #[serde(flatten)]
    pub steering: SteeringFields,
}

#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct StreamOptions {
    /// Send a last chunk with `usage`.
    pub include_usage: Option<bool>,
}

/// The parts of a request that only this route has; flattened fields are read by themselves.
#[derive(Debug, Deserialize)]
struct Own {
    messages: Vec<MessageField>,
    stream_options: Option<StreamOptions>,
}

/// Answers a conversation.
#[utoipa::path(
    post, path = "/v1/chat/completions", tag = "OpenAI", request_body = ChatRequest,
    responses(
        (status = 200, description = "The answer, or a stream of its chunks",
            content((Object = "application/json"), (String = "text/event-stream"))),
        (status = "4XX", body = Object)
    )
)]
pub async fn create(State(app): State<Arc<App>>, Object(body): Object) -> Result<Response, Error> {
    let own: Own = read(&body)?;
    refuse_of_template(&body, &own.messages)?;
    let n = count(&body, "n", 1, MAX_CHOICES)?.unwrap_or(1);
    let top = count(&body, "top_logprobs", 0, MAX_TOP_LOGPROBS)?;
    let with_logprobs = flag(&body, "logprobs")?;
    if top.is_some() && !with_logprobs {
        return Err(Error::field("top_logprobs", "it needs `logprobs` to be true"));
    }
    let is_stream = flag(&body, "stream")?;
    let mut asked = asked(&app, &body).await?;
    response_format::apply(&body, &mut asked.job.request.sampling)?;
    if with_logprobs {
        asked.report(top.unwrap_or(0));
    }
    let mut conversation = conversation(&own.messages, asked.model.served.defaults.system.as_ref())?;
    conversation.tools = tools::toolbox(&body)?;
    let jobs = asked.with(Input::Conversation(conversation)).repeated(n);
    let teller = Teller::new(&asked, with_logprobs.then_some(top.unwrap_or(0)));
    if is_stream {
        let running = Running::start_all(&app, jobs)?;
        let writer = asked.writer().id();
        let running = running.into_iter().map(|text| text.listed(&teller.id, &writer)).collect();
        let include_usage = own.stream_options.and_then(|options| options.include_usage).unwrap_or(false);
        return sse::respond(running, Chunks::new(teller, n, include_usage), app.settings.sse_ping).await;
    }
    let outcomes = Outcome::of_all(&app, jobs).await?;
    Ok(Json(teller.whole(&outcomes)).into_response())
}

/// Puts answers into words.
struct Teller {
    id: String,
    model: String,
    created: u64,
    /// Candidates for each token, where log-probabilities are told.
    n_logprobs: Option<usize>,
    explain: Explain,
    n_pairs: usize,
}

impl Teller {
    fn new(asked: &Asked<'_>, n_logprobs: Option<usize>) -> Self {
        Self {
            id: id("chatcmpl-"),
            model: asked.model.id(),
            created: now(),
            n_logprobs,
            explain: Explain::of(asked),
            n_pairs: asked.model.served.pairs.len(),
        }
    }

    fn object(&self, kind: &str, choices: &[Value]) -> Value {
        json!({
            "id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices,
            "system_fingerprint": crate::server::FINGERPRINT,
        })
    }

    fn whole(&self, outcomes: &[Outcome]) -> Value {
        let choice = |(i, outcome): (usize, &Outcome)| {
            let logprobs = self.n_logprobs.map(|n| contents(outcome.positions(), n));
            let mut choice = json!({
                "index": i, "finish_reason": outcome.finish_reason(), "logprobs": logprobs,
                "message": tools::message(&outcome.said),
            });
            outcome.add_notes(&mut choice);
            self.explain.add(&mut choice, outcome.positions());
            choice
        };
        let mut whole = self.object("chat.completion", &outcomes.iter().enumerate().map(choice).collect::<Vec<_>>());
        whole["usage"] = usage(outcomes, 1);
        if let [outcome, ..] = outcomes {
            whole["timings"] = outcome.timings();
        }
        whole
    }
}

fn contents(positions: &[Position], n_top: usize) -> Value {
    json!({"content": logprobs::contents(positions, n_top), "refusal": null})
}

/// The answer in chunks.
struct Chunks {
    teller: Teller,
    outcomes: Vec<Outcome>,
    include_usage: bool,
}

impl Chunks {
    fn new(teller: Teller, n: usize, include_usage: bool) -> Self {
        Self { teller, outcomes: (0..n).map(|_| Outcome::default()).collect(), include_usage }
    }

    fn chunk(&self, choices: &[Value]) -> Value {
        let mut chunk = self.teller.object("chat.completion.chunk", choices);
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn delta(i: usize, delta: &Value, finish_reason: Option<&str>) -> Value {
        json!({"index": i, "delta": delta, "finish_reason": finish_reason, "logprobs": null})
    }
}

impl Dialect for Chunks {
    fn event(&mut self, i: usize, event: Event) -> Vec<Frame> {
        if let Event::Steered(steered) = &event {
            let mut choice = Self::delta(i, &json!({}), None);
            choice["proxy"] = steering::changed(steered, self.teller.n_pairs);
            return vec![Frame::data(self.chunk(&[choice]))];
        }
        let (is_first, is_last) = (matches!(event, Event::Started(_)), event.is_last());
        let (deltas, new) = self.outcomes[i].grow(event);
        let new = &self.outcomes[i].answer.positions[new];
        let mut frames = Vec::new();
        if is_first {
            let role = Self::delta(i, &json!({"role": "assistant", "content": null}), None);
            frames.push(Frame::data(self.chunk(&[role])));
        }
        let mut deltas: Vec<_> = deltas.into_iter().map(tools::delta).collect();
        // A token that has decided no text is told by what is known of it.
        if deltas.is_empty() && !new.is_empty() {
            deltas.push(json!({"content": ""}));
        }
        for (n, delta) in deltas.iter().enumerate() {
            let mut choice = Self::delta(i, delta, None);
            if n == 0 {
                if let Some(n_top) = self.teller.n_logprobs.filter(|_| !new.is_empty()) {
                    choice["logprobs"] = contents(new, n_top);
                }
                self.teller.explain.add(&mut choice, new);
            }
            frames.push(Frame::data(self.chunk(&[choice])));
        }
        if is_last {
            let outcome = &self.outcomes[i];
            let mut choice = Self::delta(i, &json!({}), Some(outcome.finish_reason()));
            outcome.add_notes(&mut choice);
            let mut chunk = self.chunk(&[choice]);
            chunk["timings"] = outcome.timings();
            frames.push(Frame::data(chunk));
        }
        frames
    }

    fn end(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        if self.include_usage {
            let mut chunk = self.chunk(&[]);
            chunk["usage"] = usage(&self.outcomes, 1);
            frames.push(Frame::data(chunk));
        }
        frames.push(Frame::data("[DONE]"));
        frames
    }

    fn failed(&mut self, error: &Error) -> Vec<Frame> {
        vec![Frame::data(error.json())]
    }
}
