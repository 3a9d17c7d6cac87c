//! `POST /v1/completions`: raw texts, with the log-probabilities of the older API.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::chat::{MAX_CHOICES, MAX_TOP_LOGPROBS, StreamOptions};
use crate::engine::Question;
use crate::generate::{Event, Input};
use crate::prompt::Piece;
use crate::server::app::{App, now};
use crate::server::body::{Object, blocking, read};
use crate::server::error::Error;
use crate::server::job::Job;
use crate::server::outcome::{Outcome, usage};
use crate::server::questions;
use crate::server::running::Running;
use crate::server::sse::{self, Dialect, Frame};
use crate::server::wire::completion::{Asked, asked, count, flag};
use crate::server::wire::explain::Explain;
use crate::server::wire::id;
use crate::server::wire::limits::LimitFields;
use crate::server::wire::logprobs::{Echo, Legacy};
use crate::server::wire::prompt::{MAX_PROMPTS, prompts};
use crate::server::wire::sampling::SamplingFields;
use crate::server::wire::steering::{self, SteeringFields};

/// Texts to be continued, as they are. Fields that are not listed are left alone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CompletionRequest {
    /// An id of `/v1/models`; without one the first.
    pub model: Option<String>,
    /// A text; token ids, also with texts between them; or a list of several prompts.
    #[schema(value_type = Object)]
    pub prompt: Value,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    /// Choices for each prompt.
    pub n: Option<usize>,
    /// Candidates to report for each token; 0 reports the chosen ones alone.
    pub logprobs: Option<usize>,
    /// Put the prompt in front of the text, and of `logprobs`.
    pub echo: Option<bool>,
    #[serde(flatten)]
    pub sampling: SamplingFields,
    #[serde(flatten)]
    pub limits: LimitFields,
    #[serde(flatten)]
    pub steering: SteeringFields,
}

#[derive(Debug, Deserialize)]
struct Own {
    stream_options: Option<StreamOptions>,
}

/// Continues texts.
#[utoipa::path(
    post, path = "/v1/completions", tag = "OpenAI", request_body = CompletionRequest,
    responses(
        (status = 200, description = "The texts, or a stream of their chunks",
            content((Object = "application/json"), (String = "text/event-stream"))),
        (status = "4XX", body = Object)
    )
)]
pub async fn create(State(app): State<Arc<App>>, Object(body): Object) -> Result<Response, Error> {
    let own: Own = read(&body)?;
    let prompts = prompts(body.get("prompt"))?;
    refuse(&body)?;
    let n = count(&body, "n", 1, MAX_CHOICES)?.unwrap_or(1);
    if prompts.len().saturating_mul(n) > MAX_PROMPTS {
        let message = format!("{n} choices of {} prompts, expected at most {MAX_PROMPTS} in all", prompts.len());
        return Err(Error::field("n", message));
    }
    let top = count(&body, "logprobs", 0, MAX_TOP_LOGPROBS)?;
    let (echo, is_stream) = (flag(&body, "echo")?, flag(&body, "stream")?);
    let mut asked = asked(&app, &body).await?;
    if echo && !asked.job.request.begin.is_empty() {
        return Err(Error::field("echo", "`proxy.begin` is given beside it, expected one of the two"));
    }
    if let Some(top) = top {
        asked.report(top);
    }
    let mut echoes = Vec::new();
    let mut jobs = Vec::new();
    for prompt in prompts {
        let (mut job, echoed) = match (echo, top) {
            (true, _) => echoed(&app, &asked, prompt).await?,
            (false, _) => (asked.with(Input::Raw(prompt)), Echo::default()),
        };
        if echo {
            job.request.prompt_probs = top;
        }
        echoes.push(echoed);
        jobs.extend(job.repeated(n));
    }
    let teller = Teller::new(&asked, top, echoes, n);
    if is_stream {
        let running = Running::start_all(&app, jobs)?;
        let writer = asked.writer().id();
        let running = running.into_iter().map(|text| text.listed(&teller.id, &writer)).collect();
        let include_usage = own.stream_options.and_then(|options| options.include_usage).unwrap_or(false);
        return sse::respond(running, Chunks::new(teller, include_usage), app.settings.sse_ping).await;
    }
    let outcomes = Outcome::of_all(&app, jobs).await?;
    Ok(Json(teller.whole(&outcomes)).into_response())
}

fn refuse(body: &Value) -> Result<(), Error> {
    let suffix = body.get("suffix").and_then(Value::as_str).unwrap_or_default();
    if !suffix.is_empty() {
        return Err(Error::unsupported("suffix", "`/infill` fills in between two texts"));
    }
    let best_of = count(body, "best_of", 1, usize::MAX)?;
    match best_of {
        Some(best_of) if best_of > count(body, "n", 1, MAX_CHOICES)?.unwrap_or(1) => {
            Err(Error::unsupported("best_of", "`n` texts are generated, and all are returned"))
        }
        _ => Ok(()),
    }
}

/// A job for a prompt that is told again: by its tokens, and what each of them is.
async fn echoed(app: &Arc<App>, asked: &Asked<'_>, prompt: Vec<Piece>) -> Result<(Job, Echo), Error> {
    let sent = match prompt.as_slice() {
        [Piece::Raw(text)] => Some(text.clone()),
        _ => None,
    };
    let job = asked.with(Input::Raw(prompt));
    let (ensemble, is_plain) = (job.ensemble, job.request.views.is_empty());
    let app = app.clone();
    let (tokens, pieces) = blocking(move || {
        let (role, ids) = questions::prompt(&app, job)?;
        let spelled = questions::tokens(&app, Question::Spell { ensemble, role, tokens: ids.clone() })?;
        let pieces = spelled.into_iter().map(|token| String::from_utf8_lossy(&token.bytes).into_owned());
        Ok((ids, pieces.collect::<Vec<_>>()))
    })
    .await?;
    let input = if is_plain { Input::Tokens(tokens) } else { Input::Raw(vec![Piece::Tokens(tokens)]) };
    Ok((asked.with(input), Echo::new(sent, &pieces)))
}

/// Puts texts into words.
struct Teller {
    id: String,
    model: String,
    created: u64,
    /// Candidates for each token, where log-probabilities are told.
    n_logprobs: Option<usize>,
    /// One for each prompt, of nothing where it is not told again.
    echoes: Vec<Echo>,
    /// Choices for each prompt.
    n: usize,
    explain: Explain,
    n_pairs: usize,
}

impl Teller {
    fn new(asked: &Asked<'_>, n_logprobs: Option<usize>, echoes: Vec<Echo>, n: usize) -> Self {
        Self {
            id: id("cmpl-"),
            model: asked.model.id(),
            created: now(),
            n_logprobs,
            echoes,
            n,
            explain: Explain::of(asked),
            n_pairs: asked.model.served.pairs.len(),
        }
    }

    fn n_choices(&self) -> usize {
        self.echoes.len() * self.n
    }

    fn object(&self, choices: &[Value]) -> Value {
        json!({
            "id": self.id, "object": "text_completion", "created": self.created, "model": self.model,
            "choices": choices, "system_fingerprint": crate::server::FINGERPRINT,
        })
    }

    /// The prompt of a choice, as it is told again.
    fn echo(&self, choice: usize) -> &Echo {
        &self.echoes[choice / self.n]
    }

    fn whole(&self, outcomes: &[Outcome]) -> Value {
        let choice = |(i, outcome): (usize, &Outcome)| {
            let answer = &outcome.answer;
            let echo = self.echo(i);
            let mut choice = json!({
                "index": i, "text": format!("{}{}", echo.text, answer.text), "finish_reason": outcome.finish_reason(), "logprobs": null,
            });
            if let Some(n_top) = self.n_logprobs {
                let mut lists = Legacy::of(echo, n_top);
                answer.prompt_positions.iter().chain(outcome.positions()).for_each(|position| lists.push(position));
                choice["logprobs"] = lists.json();
            }
            self.explain.add(&mut choice, outcome.positions());
            choice
        };
        let mut whole = self.object(&outcomes.iter().enumerate().map(choice).collect::<Vec<_>>());
        whole["usage"] = usage(outcomes, self.echoes.len());
        if let [outcome] = outcomes {
            whole["timings"] = outcome.timings();
        }
        whole
    }
}

/// The texts in chunks.
struct Chunks {
    teller: Teller,
    outcomes: Vec<Outcome>,
    /// Characters of each choice that are told.
    n_told: Vec<usize>,
    include_usage: bool,
}

impl Chunks {
    fn new(teller: Teller, include_usage: bool) -> Self {
        let n = teller.n_choices();
        Self { teller, outcomes: (0..n).map(|_| Outcome::default()).collect(), n_told: vec![0; n], include_usage }
    }

    fn chunk(&self, i: usize, text: &str, finish_reason: Option<&str>) -> Value {
        let choice = json!({"index": i, "text": text, "finish_reason": finish_reason, "logprobs": null});
        let mut chunk = self.teller.object(&[choice]);
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    /// The prompt, before the first token of the text.
    fn echo(&mut self, i: usize) -> Option<Frame> {
        let echo = self.teller.echo(i);
        if echo.text.is_empty() {
            return None;
        }
        let mut chunk = self.chunk(i, &echo.text, None);
        if let Some(n_top) = self.teller.n_logprobs {
            let mut lists = Legacy::of(echo, n_top);
            self.outcomes[i].answer.prompt_positions.iter().for_each(|position| lists.push(position));
            chunk["choices"][0]["logprobs"] = lists.json();
        }
        self.n_told[i] = echo.text.chars().count();
        Some(Frame::data(chunk))
    }
}

impl Dialect for Chunks {
    fn event(&mut self, i: usize, event: Event) -> Vec<Frame> {
        if let Event::Steered(steered) = &event {
            let mut chunk = self.chunk(i, "", None);
            chunk["choices"][0]["proxy"] = steering::changed(steered, self.teller.n_pairs);
            return vec![Frame::data(chunk)];
        }
        let is_last = event.is_last();
        let begins = self.n_told[i] == 0 && matches!(event, Event::Token(_) | Event::Done(_));
        let (text, new) = self.outcomes[i].grow_text(event);
        let mut frames: Vec<_> = begins.then(|| self.echo(i)).flatten().into_iter().collect();
        let new = &self.outcomes[i].answer.positions[new];
        if !text.is_empty() || !new.is_empty() {
            let mut chunk = self.chunk(i, &text, None);
            let choice = &mut chunk["choices"][0];
            if let Some(n_top) = self.teller.n_logprobs.filter(|_| !new.is_empty()) {
                let mut lists = Legacy::behind(self.n_told[i], n_top);
                for position in new {
                    lists.push(position);
                }
                choice["logprobs"] = lists.json();
            }
            self.teller.explain.add(choice, new);
            self.n_told[i] += text.chars().count();
            frames.push(Frame::data(chunk));
        }
        if is_last {
            let mut chunk = self.chunk(i, "", Some(self.outcomes[i].finish_reason()));
            chunk["timings"] = self.outcomes[i].timings();
            frames.push(Frame::data(chunk));
        }
        frames
    }

    fn end(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        if self.include_usage {
            let mut chunk = self.teller.object(&[]);
            chunk["usage"] = usage(&self.outcomes, self.teller.echoes.len());
            frames.push(Frame::data(chunk));
        }
        frames.push(Frame::data("[DONE]"));
        frames
    }

    fn failed(&mut self, error: &Error) -> Vec<Frame> {
        vec![Frame::data(error.json())]
    }
}
