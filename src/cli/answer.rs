//! A request run to its end, and what its answer looks like as JSON.

use std::sync::atomic::AtomicBool;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::Done;
use super::terminal::say;
use crate::engine::Engine;
use crate::generate::event::{Event, Generated};
use crate::generate::probs::{Logprob, Position};
use crate::generate::{Answer, Finish, Request};
use crate::llama::context::Timings;
use crate::steer::Role;

/// Runs a request; `show` gets text as it is decided, with what was seen at its position.
pub fn run(
    engine: &mut Engine,
    request: &Request,
    stopped: &AtomicBool,
    answer: &mut Answer,
    mut show: impl FnMut(&str, Option<&Position>) -> std::io::Result<()>,
) -> Result<()> {
    engine.run(request, stopped, answer, |event, text| match event {
        Event::Started(started) => {
            started.notes.iter().for_each(|note| say!("note: {note}"));
            Ok(())
        }
        Event::Read { .. } => Ok(()),
        Event::Token(Generated { position, .. }) => show(text, position.as_ref()),
        Event::Done(_) | Event::Failed(_) => show(text, None),
    })?;
    answer.failure.clone().map_or(Ok(()), |failure| Err(failure.into()))
}

/// Tells where the answer ended for want of room, and not because it was long enough.
pub fn note_where_full(answer: &Answer) {
    if answer.is_full {
        say!("note: the context is full, and the answer ends there; -c gives more room");
    }
}

pub fn done(answer: &Answer) -> Done {
    if answer.finish == Some(Finish::Cancelled) { Done::Interrupted } else { Done::Fine }
}

/// `text`, `tokens`, `finish_reason`, `prompt_tokens`, `timings`, `generation` and, where they were asked for, `probs`.
pub fn json(answer: &Answer) -> Map<String, Value> {
    let prompts = answer.started.prompts.iter().map(|(role, tokens)| (role.to_string(), json!(tokens)));
    let timings = answer.timings.iter().map(|(role, timing)| (role.to_string(), self::timing(*timing)));
    let mut object = Map::new();
    object.insert("text".to_owned(), json!(answer.text));
    object.insert("tokens".to_owned(), json!(answer.tokens));
    object.insert("finish_reason".to_owned(), json!(answer.finish.map(Finish::name)));
    object.insert("prompt_tokens".to_owned(), Value::Object(prompts.collect()));
    object.insert("timings".to_owned(), Value::Object(timings.collect()));
    object.insert("generation".to_owned(), generation(answer));
    if !answer.positions.is_empty() {
        object.insert("probs".to_owned(), answer.positions.iter().map(position).collect());
    }
    object
}

/// The text's own pace, prompt left out, and what became of the drafts.
fn generation(answer: &Answer) -> Value {
    let (n, drafts) = (answer.tokens.len(), answer.stats.all());
    json!({
        "n": n, "ms": answer.seconds * 1e3, "per_second": n as f64 / answer.seconds.max(f64::MIN_POSITIVE),
        "n_steps": answer.stats.n_steps(), "n_drafted": drafts.n_drafted, "n_accept": drafts.n_accept,
    })
}

fn position(position: &Position) -> Value {
    let mut value = entry(&position.chosen);
    value["changed"] = json!(position.changed);
    value["top"] = position.top.iter().map(entry).collect();
    value
}

fn entry(p: &Logprob) -> Value {
    // JSON has no infinity; llama.cpp writes the lowest f32 in its place.
    let composed = p.composed.unwrap_or(f64::from(f32::MIN));
    let mut value = json!({"id": p.id, "piece": p.piece(), "logprob": composed, "base": p.base});
    for (i, sides) in p.pairs.iter().enumerate() {
        value[Role::Expert(i).to_string()] = json!(sides.expert);
        value[Role::Antiexpert(i).to_string()] = json!(sides.antiexpert);
    }
    value
}

fn timing(t: Timings) -> Value {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let per_second = |n: usize, time: std::time::Duration| if n == 0 { 0.0 } else { n as f64 / time.as_secs_f64() };
    json!({
        "prompt_n": t.n_prompt, "prompt_ms": ms(t.t_prompt), "prompt_per_second": per_second(t.n_prompt, t.t_prompt),
        "decode_n": t.n_decode, "decode_ms": ms(t.t_decode), "decode_per_second": per_second(t.n_decode, t.t_decode),
    })
}
