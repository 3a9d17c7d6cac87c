//! Texts that nobody generated, for tests of what is told of them.

use super::sse::{Dialect, Frame};
use crate::generate::Finish;
use crate::generate::draft::Stats;
use crate::generate::event::{Done, Event, Failure, Generated, RolePrompt, Started, StopReason};
use crate::generate::probs::{Logprob, Position};
use crate::steer::Role;

/// The event by which a text gets its place: four tokens of prompt, of which three are held already.
pub fn started() -> Event {
    let prompt = RolePrompt { role: Role::Base, tokens: vec![0, 1, 2, 3], n_cached: 3 };
    Event::Started(Started { prompts: vec![prompt], n_prompt: 4, n_cached: 3, notes: Vec::new(), calls: None })
}

/// A token that decides a text.
pub fn token(text: &str) -> Event {
    Event::Token(Generated { token: 7, text: text.to_owned(), place: 0, position: None })
}

/// The same with its log-probability, −0.5.
pub fn seen(text: &str) -> Event {
    let chosen = Logprob { id: 7, bytes: text.into(), composed: Some(-0.5), base: -1.0, pairs: Vec::new() };
    let position =
        Position { top: vec![chosen.clone()], base_top: chosen.clone(), changed: false, divergence: None, chosen };
    Event::Token(Generated { token: 7, text: text.to_owned(), place: 0, position: Some(position) })
}

/// The end, with the text that was held back.
pub fn done(finish: Finish, stopped_by: Option<StopReason>, text: &str) -> Event {
    Event::Done(Done {
        notes: Vec::new(),
        finish,
        stopped_by,
        is_full: false,
        text: text.to_owned(),
        stats: Stats::default(),
        prompt_seconds: 0.0,
        seconds: 0.0,
        timings: Vec::new(),
        served: None,
    })
}

/// What a dialect tells of a text that comes to its end.
pub fn told(dialect: &mut impl Dialect, events: Vec<Event>) -> Vec<Frame> {
    let mut frames: Vec<_> = events.into_iter().flat_map(|event| dialect.event(0, event)).collect();
    frames.extend(dialect.end());
    frames
}

/// What a dialect tells of one that fails behind these events.
pub fn told_of_failure(dialect: &mut impl Dialect, events: Vec<Event>, failure: Failure) -> Vec<Frame> {
    let mut frames: Vec<_> = events.into_iter().flat_map(|event| dialect.event(0, event)).collect();
    frames.extend(dialect.failed(&failure.into()));
    frames
}
