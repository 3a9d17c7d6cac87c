//! Texts as llama-server's own routes tell of them: `/completion` and `/infill`.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::chat::MAX_CHOICES;
use crate::generate::event::StopReason;
use crate::generate::{Event, Finish, Input};
use crate::llama::Token;
use crate::server::app::App;
use crate::server::body::{blocking, read};
use crate::server::error::Error;
use crate::server::job::Job;
use crate::server::outcome::Outcome;
use crate::server::questions::{prompt, spell};
use crate::server::running::Running;
use crate::server::sse::{self, Dialect, Frame};
use crate::server::wire::completion::{Asked, asked, count, flag};
use crate::server::wire::explain::Explain;
use crate::server::wire::logprobs;
use crate::server::wire::settings::settings;

/// What llama-server's own routes read beside sampling, limits and steering.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct NativeFields {
    /// Candidates to report for each token.
    pub n_probs: Option<usize>,
    /// Texts for each prompt; `n` is the same.
    pub n_cmpl: Option<usize>,
    pub stream: Option<bool>,
    /// Tell the ids of the text in `tokens`. A stream tells them always.
    pub return_tokens: Option<bool>,
    /// Tell `timings` with every token of a stream.
    pub timings_per_token: Option<bool>,
    /// Tell in a stream how far the prompt is read.
    pub return_progress: Option<bool>,
    /// Names of the reply's fields that are told, such as `content` and `generation_settings/n_predict`.
    pub response_fields: Option<Vec<String>>,
}

/// Runs inputs to their ends, and tells of them.
pub async fn respond(app: &Arc<App>, body: &Value, inputs: Vec<Input>) -> Result<Response, Error> {
    let fields: NativeFields = read(body)?;
    let n = count(body, "n_cmpl", 1, MAX_CHOICES)?.or(count(body, "n", 1, MAX_CHOICES)?).unwrap_or(1);
    let is_stream = flag(body, "stream")?;
    let mut asked = asked(app, body).await?;
    // As in llama-server, the vocabulary alone bounds how many are told: a model that is steered elsewhere may need all.
    let n_vocab = app.about()?.get(asked.job.ensemble).map_or(0, |about| about.n_vocab);
    let top = count(body, "n_probs", 0, n_vocab)?.or(count(body, "logprobs", 0, n_vocab)?);
    let top = top.filter(|n| *n > 0);
    if let Some(top) = top {
        asked.report(top);
    }
    let jobs: Vec<Job> = inputs.into_iter().flat_map(|input| asked.with(input).repeated(n)).collect();
    let teller = Teller::new(&asked, fields, top);
    if is_stream {
        let (ensemble, each) = (asked.job.ensemble, jobs.iter().step_by(n).cloned().collect::<Vec<_>>());
        let n_jobs = jobs.len();
        let running = Running::start_all(app, jobs)?;
        // The last event of a text repeats its prompt.
        let app_ = app.clone();
        let spelled = move |job| prompt(&app_, job).and_then(|(role, tokens)| spell(&app_, ensemble, role, tokens));
        let prompts = blocking(move || each.into_iter().map(spelled).collect()).await;
        let chunks = Chunks::new(teller, n_jobs, n, prompts.unwrap_or_default());
        return sse::respond(running, chunks, app.settings.sse_ping).await;
    }
    let (ensemble, n_begun) = (asked.job.ensemble, asked.job.request.begin.len());
    let outcomes = Outcome::of_all(app, jobs).await?;
    let app = app.clone();
    blocking(move || {
        let mut told = Vec::new();
        for (i, outcome) in outcomes.iter().enumerate() {
            let given = outcome.answer.started.prompts.first();
            let given = given.map(|given| (given.role, given.tokens[..given.tokens.len() - n_begun].to_vec()));
            let prompt = given.map(|(role, tokens)| spell(&app, ensemble, role, tokens)).transpose()?;
            told.push(teller.last(i, outcome, prompt.as_deref().unwrap_or_default(), false));
        }
        let told = if let [_] = told[..] { told.remove(0) } else { Value::Array(told) };
        Ok(Json(told).into_response())
    })
    .await
}

/// Puts texts into words.
struct Teller {
    model: String,
    fields: NativeFields,
    settings: Value,
    /// Candidates for each token, where they are told.
    n_probs: Option<usize>,
    explain: Explain,
}

/// No slot in particular: the engine seats a text where it finds most of its prompt.
const ANY_SLOT: i32 = -1;

impl Teller {
    fn new(asked: &Asked<'_>, fields: NativeFields, n_probs: Option<usize>) -> Self {
        let mut settings = settings(&asked.job.request);
        settings["stream"] = json!(fields.stream.unwrap_or(false));
        settings["n_probs"] = json!(n_probs.unwrap_or(0));
        settings["timings_per_token"] = json!(fields.timings_per_token.unwrap_or(false));
        Self { model: asked.model.id(), fields, settings, n_probs, explain: Explain::of(asked) }
    }

    /// A text that goes on.
    fn partial(i: usize, outcome: &Outcome, content: &str, tokens: &[Token]) -> Value {
        json!({
            "index": i, "content": content, "tokens": tokens, "stop": false, "id_slot": ANY_SLOT,
            "tokens_predicted": outcome.answer.tokens.len(), "tokens_evaluated": outcome.prompt().0,
        })
    }

    /// A text that has ended. A stream has told its parts before.
    fn last(&self, i: usize, outcome: &Outcome, prompt: &str, is_stream: bool) -> Value {
        let answer = &outcome.answer;
        let (n_prompt, n_text) = (outcome.prompt().0, answer.tokens.len());
        let (stop_type, stopping_word) = match (&answer.finish, &answer.stopped_by) {
            (_, Some(StopReason::Eog(_) | StopReason::Grammar)) => ("eos", ""),
            (_, Some(StopReason::Text(word))) => ("word", word.as_str()),
            (Some(Finish::Length), None) => ("limit", ""),
            _ => ("none", ""),
        };
        let shows_tokens = !is_stream && self.fields.return_tokens.unwrap_or(false);
        let mut last = json!({
            "index": i, "content": if is_stream { "" } else { &answer.text },
            "tokens": if shows_tokens { answer.tokens.as_slice() } else { &[] },
            "id_slot": ANY_SLOT, "stop": true, "model": self.model, "tokens_predicted": n_text,
            "tokens_evaluated": n_prompt, "generation_settings": self.settings, "prompt": prompt,
            "has_new_line": answer.text.contains('\n'), "truncated": answer.is_full,
            "stop_type": stop_type, "stopping_word": stopping_word,
            // The token that was chosen last is not read any more.
            "tokens_cached": n_prompt + n_text.saturating_sub(1), "timings": outcome.timings(),
        });
        if !is_stream {
            if let Some(n_top) = self.n_probs {
                last["completion_probabilities"] = logprobs::contents(outcome.positions(), n_top);
            }
            self.explain.add(&mut last, outcome.positions());
        }
        match &self.fields.response_fields {
            Some(paths) if !paths.is_empty() => picked(&last, paths),
            _ => last,
        }
    }
}

/// The parts of an object that are asked for by their paths, under those.
fn picked(object: &Value, paths: &[String]) -> Value {
    let find = |path: &String| {
        let found = path.split('/').try_fold(object, |object, name| object.as_object()?.get(name));
        Some((path.clone(), found?.clone()))
    };
    Value::Object(paths.iter().filter_map(find).collect::<Map<_, _>>())
}

/// Texts token by token.
struct Chunks {
    teller: Teller,
    outcomes: Vec<Outcome>,
    /// Texts for each prompt.
    n: usize,
    prompts: Vec<String>,
}

impl Chunks {
    fn new(teller: Teller, n_texts: usize, n: usize, prompts: Vec<String>) -> Self {
        Self { teller, outcomes: (0..n_texts).map(|_| Outcome::default()).collect(), n, prompts }
    }

    /// How far the prompt is read: `n` tokens of all roles together.
    fn progress(&self, i: usize, n: usize) -> Frame {
        let outcome = &self.outcomes[i];
        let started = &outcome.answer.started;
        let mut chunk = Teller::partial(i, outcome, "", &[]);
        chunk["prompt_progress"] = json!({
            "total": started.n_prompt, "cache": started.n_cached, "processed": n,
            "time_ms": outcome.elapsed().as_millis() as u64,
        });
        Frame::data(chunk)
    }

    fn token(&self, i: usize, text: &str) -> Frame {
        let (teller, outcome) = (&self.teller, &self.outcomes[i]);
        let tokens = &outcome.answer.tokens;
        let mut chunk = Teller::partial(i, outcome, text, &tokens[tokens.len().saturating_sub(1)..]);
        if teller.fields.timings_per_token.unwrap_or(false) {
            chunk["timings"] = outcome.timings();
        }
        if let Some(position) = outcome.answer.positions.last().map(std::slice::from_ref) {
            if let Some(n_top) = teller.n_probs {
                chunk["completion_probabilities"] = logprobs::contents(position, n_top);
            }
            teller.explain.add(&mut chunk, position);
        }
        Frame::data(chunk)
    }
}

impl Dialect for Chunks {
    fn event(&mut self, i: usize, event: Event) -> Vec<Frame> {
        let n_read = match &event {
            Event::Started(started) => Some(started.n_cached),
            Event::Read { n } => Some(*n),
            _ => None,
        };
        let (is_token, is_last) = (matches!(event, Event::Token(_)), event.is_last());
        let (text, _) = self.outcomes[i].grow_text(event);
        if let Some(n) = n_read.filter(|_| self.teller.fields.return_progress.unwrap_or(false)) {
            return vec![self.progress(i, n)];
        }
        if is_token {
            return vec![self.token(i, &text)];
        }
        if !is_last {
            return Vec::new();
        }
        let outcome = &self.outcomes[i];
        // What was held back until it was known that nothing more comes.
        let rest = (!text.is_empty()).then(|| Frame::data(Teller::partial(i, outcome, &text, &[])));
        let prompt = self.prompts.get(i / self.n).map_or("", String::as_str);
        let last = self.teller.last(i, outcome, prompt, true);
        rest.into_iter().chain([Frame::data(last)]).collect()
    }

    fn end(&mut self) -> Vec<Frame> {
        Vec::new()
    }

    fn failed(&mut self, error: &Error) -> Vec<Frame> {
        vec![Frame::data(error.json())]
    }
}
