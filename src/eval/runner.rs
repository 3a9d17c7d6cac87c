//! A task's items through an engine: contender by contender, many items at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::TaskError;
use super::items::Item;
use super::results::{Record, Results};
use super::task::Task;
use crate::engine::{Engine, Id};
use crate::generate::{Answer, Draft, Failure, Finish, Request};
use crate::prompt::{Conversation, Message, Speaker};
use crate::sampling::Sampling;
use crate::steer::{Sampled, WeightsRequest};

/// Who answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Contender {
    /// By which results know it: α included, so that it says all that a fingerprint of the run does not.
    pub name: String,
    pub kind: Kind,
    pub sampled: Sampled,
    /// How far the pairs steer, where it is not as planned.
    pub weights: WeightsRequest,
}

/// What a contender is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Base,
    Expert,
    Antiexpert,
    Steered,
    /// A model that was tuned itself, in an engine of its own.
    Tuned,
}

/// What is asked of every contender.
#[derive(Debug, Clone, Copy)]
pub struct Questions<'a> {
    pub task: &'a Task,
    pub items: &'a [Item],
    pub system: Option<&'a str>,
    pub sampling: &'a Sampling,
}

/// Why a run ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    #[error("{contender}, item {item}: {failure}")]
    Item { contender: String, item: usize, failure: Failure },

    #[error(transparent)]
    Results(#[from] TaskError),
}

/// How far a contender is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Items that were answered, and tokens that were written, since it began.
    pub n_items: usize,
    pub n_tokens: usize,
}

impl Questions<'_> {
    /// What a contender is given of an item.
    #[must_use]
    pub fn conversation(&self, item: &Item) -> Conversation {
        let system = self.system.map(|text| Message::new(Speaker::System, text));
        let messages = system.into_iter().chain([Message::new(Speaker::User, item.prompt.as_str())]).collect();
        Conversation { messages, ..Conversation::default() }
    }

    fn request(&self, contender: &Contender, item: &Item) -> Request {
        let Contender { sampled, weights, .. } = contender.clone();
        Request {
            sampled,
            weights,
            sampling: self.sampling.clone(),
            n_predict: Some(self.task.spec.max_tokens),
            stop: self.task.spec.stop.clone(),
            // Drafts pay where one text runs by itself, and change what a batch holds.
            draft: Draft::off(),
            ..Request::of(self.conversation(item))
        }
    }

    /// What each filter finds in an answer, and whether that is right, by the filters' names.
    fn score(&self, item: usize, text: &str) -> (BTreeMap<String, Option<String>>, BTreeMap<String, bool>) {
        let exact = &self.task.exact;
        let scored = exact.names().map(str::to_owned).zip(exact.score(text, &self.items[item].reference));
        scored.map(|(name, scored)| ((name.clone(), scored.extracted), (name, scored.is_correct))).unzip()
    }
}

/// Asks a contender every item that the results lack, as many at once as the engine has slots, and adds its answers to the
/// results as they come. `cancel` is looked at between ticks: what is not answered until then is left out, and the rest is
/// for a later run. `progress` hears of every tick.
pub fn run(
    engine: &mut Engine,
    contender: &Contender,
    questions: &Questions<'_>,
    results: &mut Results,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(Pace),
) -> Result<(), RunError> {
    // Each reads its prompts by itself, as it would without the others.
    engine.forget();
    let mut running = BTreeMap::new();
    let asked = ask(engine, contender, questions, results, cancel, &mut running, progress);
    for &id in running.keys() {
        engine.cancel(id);
    }
    while engine.tick(&mut |_, _| {}) {}
    asked
}

fn ask(
    engine: &mut Engine,
    contender: &Contender,
    questions: &Questions<'_>,
    results: &mut Results,
    cancel: &AtomicBool,
    running: &mut BTreeMap<Id, (usize, Answer)>,
    progress: &mut dyn FnMut(Pace),
) -> Result<(), RunError> {
    let failed = |item, failure| RunError::Item { contender: contender.name.clone(), item, failure };
    let waiting: Vec<_> = (0..questions.items.len()).filter(|&item| !results.has(&contender.name, item)).collect();
    let mut waiting = waiting.into_iter();
    let n_slots = engine.settings().n_slots;
    let (mut pace, mut since) = (Pace::default(), Instant::now());
    while !cancel.load(Ordering::Relaxed) {
        for item in waiting.by_ref().take(n_slots.saturating_sub(running.len())) {
            let request = questions.request(contender, &questions.items[item]);
            let id = engine.submit(&request).map_err(|failure| failed(item, failure))?;
            running.insert(id, (item, Answer::default()));
        }
        if running.is_empty() {
            break;
        }
        let mut ended = Vec::new();
        engine.tick(&mut |id, event| {
            let Some((_, answer)) = running.get_mut(&id) else { return };
            if event.is_last() {
                ended.push(id);
            }
            let n_before = answer.tokens.len();
            answer.add(event);
            pace.n_tokens += answer.tokens.len() - n_before;
        });
        for (item, answer) in ended.into_iter().filter_map(|id| running.remove(&id)) {
            if let Some(failure) = answer.failure {
                return Err(failed(item, failure));
            }
            let (extracted, correct) = questions.score(item, &answer.text);
            results.add(Record {
                item,
                contender: contender.name.clone(),
                extracted,
                correct,
                n_tokens: answer.tokens.len(),
                finish_reason: answer.finish.map_or("", Finish::name).to_owned(),
                seconds: answer.prompt_seconds + answer.seconds,
                wall_seconds: since.elapsed().as_secs_f64(),
                text: answer.text,
            })?;
            since = Instant::now();
            pace.n_items += 1;
        }
        progress(pace);
    }
    Ok(())
}
