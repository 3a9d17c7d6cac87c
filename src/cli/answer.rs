//! A request run to its end, and what its answer looks like as JSON.

use std::io::IsTerminal;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::Done;
use super::pace::{Pace, Slowdown};
use super::progress::Reading;
use super::terminal::say;
use crate::engine::Engine;
use crate::generate::draft::Tally;
use crate::generate::event::{Event, Generated, Started};
use crate::generate::probs::{Logprob, Position};
use crate::generate::{Answer, Finish, Request, Served};
use crate::llama::context::Timings;
use crate::steer::Role;

/// Runs a request; `show` gets text as it is decided, with what was seen at its position. Answers how long the prompt
/// took to read.
pub fn run(
    engine: &mut Engine,
    request: &Request,
    stopped: &AtomicBool,
    answer: &mut Answer,
    mut show: impl FnMut(&str, Option<&Position>) -> std::io::Result<()>,
) -> Result<Duration> {
    let (mut reading, mut pace) = (Reading::default(), Pace::default());
    let (mut started, mut read) = (Instant::now(), Duration::ZERO);
    engine.run(request, stopped, answer, |event, text| match event {
        Event::Started(Started { notes, n_prompt, n_cached, .. }) => {
            for note in notes {
                say!("note: {note}");
            }
            started = Instant::now();
            reading.begin(*n_prompt, *n_cached);
            Ok(())
        }
        Event::Prompt(_) | Event::Steered(_) => Ok(()),
        Event::Read { n } => {
            read = started.elapsed();
            reading.report(*n);
            Ok(())
        }
        Event::Token(Generated { position, place, .. }) => {
            reading.end();
            if *place == 0 {
                note_where_slow(pace.step(Instant::now()));
            }
            show(text, position.as_ref())
        }
        Event::Done(_) | Event::Failed(_) => {
            reading.end();
            show(text, None)
        }
    })?;
    answer.failure.clone().map_or(Ok(read), |failure| Err(failure.into()))
}

fn note_where_slow(slowdown: Option<Slowdown>) {
    if let Some(Slowdown { now, best }) = slowdown {
        let (now, best) = (now.as_secs_f64(), best.as_secs_f64());
        // The text stands on the same line of a terminal.
        let behind = if std::io::stderr().is_terminal() { "\n" } else { "" };
        say!(
            "{behind}note: a step takes {now:.2} s and took {best:.3} s at its best: other programs may be using the cores, and \
             fewer threads (-t N) wait less for one another"
        );
    }
}

/// Tells on stderr how fast an answer was, and the seed that makes it anew.
pub fn tell_perf(answer: &Answer, read: Duration, seed: Option<u32>) {
    if answer.finish.is_some() {
        say!("{}", perf(answer, read, seed));
    }
}

fn perf(answer: &Answer, read: Duration, seed: Option<u32>) -> String {
    let speed = |n: usize, seconds: f64| {
        let tokens = if n == 1 { "token" } else { "tokens" };
        if n > 1 && seconds > 0.0 {
            format!("{n} {tokens} at {:.2} tokens/s", n as f64 / seconds)
        } else {
            format!("{n} {tokens}")
        }
    };
    let n_prompt = answer.timings.first().map_or(0, |(_, timings)| timings.n_prompt);
    let mut parts = vec![
        format!("prompt {}", speed(n_prompt, read.as_secs_f64())),
        format!("answer {}", speed(answer.tokens.len(), answer.seconds)),
    ];
    let drafts = answer.stats.all();
    if drafts.n_drafted > 0 {
        let Tally { n_drafted, n_accept } = drafts;
        parts.push(format!("{n_accept} of {n_drafted} drafts accepted ({:.0} %)", drafts.rate() * 100.0));
    }
    parts.extend(seed.map(|seed| format!("seed {seed}")));
    let served = answer.served.map_or(String::new(), |served| format!("\nserver: {served}"));
    format!("perf: {}{served}", parts.join(", "))
}

/// Tells where the answer ended for want of room, and not because it was long enough, and what else is not as it was asked for.
pub fn note_what_is_amiss(answer: &Answer) {
    let full = answer.is_full.then_some("the context is full, and the answer ends there; -c gives more room");
    // What was known at its start is told already.
    let others = answer.notes.iter().skip(answer.started.notes.len()).map(String::as_str);
    for (i, note) in full.into_iter().chain(others).enumerate() {
        // The text stands on the same line of a terminal.
        let is_behind = i == 0 && std::io::stderr().is_terminal() && !answer.text.ends_with('\n');
        say!("{}note: {note}", if is_behind { "\n" } else { "" });
    }
}

pub fn done(answer: &Answer) -> Done {
    if answer.finish == Some(Finish::Cancelled) { Done::Interrupted } else { Done::Fine }
}

/// `text`, `tokens`, `finish_reason`, `prompt_tokens`, `timings`, `generation` and, where there are some or they were asked for,
/// `notes` and `probs`.
pub fn json(answer: &Answer) -> Map<String, Value> {
    let prompts = answer.started.prompts.iter().map(|prompt| (prompt.role.to_string(), json!(prompt.tokens)));
    let timings = answer.timings.iter().map(|(role, timing)| (role.to_string(), self::timing(*timing)));
    let mut object = Map::new();
    object.insert("text".to_owned(), json!(answer.text));
    object.insert("tokens".to_owned(), json!(answer.tokens));
    object.insert("finish_reason".to_owned(), json!(answer.finish.map(Finish::name)));
    object.insert("prompt_tokens".to_owned(), Value::Object(prompts.collect()));
    object.insert("timings".to_owned(), Value::Object(timings.collect()));
    object.insert("generation".to_owned(), generation(answer));
    if let Some(served) = &answer.served {
        object.insert("served".to_owned(), self::served(served));
    }
    if !answer.notes.is_empty() {
        object.insert("notes".to_owned(), json!(answer.notes));
    }
    if !answer.positions.is_empty() {
        object.insert("probs".to_owned(), answer.positions.iter().map(position).collect());
    }
    object
}

/// What was asked of the base's server, and what it did not show.
fn served(served: &Served) -> Value {
    let requests = &served.requests;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    json!({
        "requests": requests.n_requests, "retries": requests.n_retries, "positions": requests.n_rows, "ahead": requests.n_ahead,
        "dropped": requests.n_dropped, "under_way_ms": ms(requests.under_way), "waited_ms": ms(requests.waited),
        "draws": served.draws, "error_nats": served.error, "base_not_shown": requests.rest_mean(),
        "steered_not_shown": served.hidden_mean(), "steered_not_shown_most": served.hidden_most, "may_lead": served.n_may_lead,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::draft::Stats;
    use crate::steer::Role;

    #[test]
    fn the_perf_line_has_speeds_drafts_and_seed() {
        let timings = Timings { n_prompt: 6, ..Timings::default() };
        let mut answer = Answer {
            tokens: vec![1; 20],
            seconds: 0.5,
            timings: vec![(Role::Base, timings)],
            finish: Some(Finish::Length),
            ..Answer::default()
        };
        let read = Duration::from_millis(20);
        let lockstep = "perf: prompt 6 tokens at 300.00 tokens/s, answer 20 tokens at 40.00 tokens/s, seed 42";
        assert_eq!(perf(&answer, read, Some(42)), lockstep);
        answer.stats = Stats { by_model: Tally { n_drafted: 8, n_accept: 6 }, ..Stats::default() };
        assert!(perf(&answer, read, None).ends_with(", 6 of 8 drafts accepted (75 %)"));
        assert_eq!(perf(&Answer::default(), Duration::ZERO, Some(1)), "perf: prompt 0 tokens, answer 0 tokens, seed 1");
    }
}
