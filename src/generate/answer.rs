//! A generation's events gathered into what it gave.

use super::draft::Stats;
use super::event::{Done, Event, Failed, Failure, Finish, Generated, Started, StopReason};
use super::probs::Position;
use super::served::Served;
use crate::llama::Token;
use crate::llama::context::Timings;
use crate::steer::Role;

/// What a generation gave so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    pub text: String,
    pub tokens: Vec<Token>,
    /// One for each token, where they were asked for.
    pub positions: Vec<Position>,
    /// One for each token of the prompt behind its first, where they were asked for.
    pub prompt_positions: Vec<Position>,
    pub started: Started,
    /// `None` while it goes on, and where it failed.
    pub finish: Option<Finish>,
    pub stopped_by: Option<StopReason>,
    pub is_full: bool,
    /// What is not as it was asked for.
    pub notes: Vec<String>,
    pub failure: Option<Failure>,
    pub stats: Stats,
    /// From its place in the engine to the end of the prompt, and from there to the end of the text.
    pub prompt_seconds: f64,
    pub seconds: f64,
    pub timings: Vec<(Role, Timings)>,
    /// Where the base is on a server.
    pub served: Option<Served>,
}

impl Answer {
    /// An answer that begins with a text that nobody generated.
    #[must_use]
    pub fn starting_with(prefix: &str) -> Self {
        Self { text: prefix.to_owned(), ..Self::default() }
    }

    /// Takes in an event; the text that it adds.
    pub fn add(&mut self, event: Event) -> String {
        let text = match event {
            Event::Started(started) => {
                self.notes.clone_from(&started.notes);
                self.started = started;
                String::new()
            }
            Event::Read { .. } | Event::Steered(_) => String::new(),
            Event::Prompt(positions) => {
                self.prompt_positions.extend(positions);
                String::new()
            }
            Event::Token(Generated { token, text, position, .. }) => {
                self.tokens.push(token);
                self.positions.extend(position);
                text
            }
            Event::Done(done) => {
                let Done { finish, stopped_by, is_full, text, notes, stats, prompt_seconds, seconds, timings, served } =
                    done;
                self.notes.extend(notes);
                self.served = served;
                self.stopped_by = stopped_by;
                (self.finish, self.is_full, self.seconds) = (Some(finish), is_full, seconds);
                (self.stats, self.timings, self.prompt_seconds) = (stats, timings, prompt_seconds);
                text
            }
            Event::Failed(Failed { failure, text }) => {
                self.failure = Some(failure);
                text
            }
        };
        self.text += &text;
        text
    }
}
