//! Items whose answers are given: how probable they are under every contender.
//!
//! All lanes read an item once, and every contender's log-probabilities come from the same rows: what another α costs is its
//! sum over the vocabulary.

use std::cell::{Cell, RefCell};
use std::f64::consts::LN_2;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::contender::Contender;
use super::figures::Subject;
use super::item::{Item, Wanted};
use super::prediction::Prediction;
use super::questions::{Pace, Questions, RunError};
use super::reading::{self, Predicted};
use super::results::{Answered, Record, Results};
use super::scoring::{BITS_PER_BYTE, NATS_PER_TOKEN};
use super::task::BEFORE_ANSWER;
use super::texts::{Group, Text, Texts};
use super::{TaskError, choice};
use crate::steer::error::in_lane;
use crate::steer::{Ensemble, Error, Loaded, Role, Sampled, Topology};

/// The items that some contender has not answered, as texts.
#[derive(Debug)]
pub struct Open {
    items: Vec<usize>,
    texts: Texts,
    /// Items that have no token which could be predicted.
    pub n_without: usize,
}

impl Open {
    pub fn new(
        loaded: &Loaded,
        questions: &Questions<'_>,
        contenders: &[Contender],
        results: &Results,
    ) -> Result<Self, RunError> {
        let (mut items, mut all, mut n_without) = (Vec::new(), Vec::new(), 0);
        for (i, item) in questions.items.iter().enumerate() {
            if contenders.iter().all(|contender| results.has(&contender.name, i)) {
                continue;
            }
            match text(loaded, questions, item)
                .map_err(|error| RunError::Given { item: Some(i), source: error.into() })?
            {
                Some(text) => {
                    items.push(i);
                    all.push(text);
                }
                None => n_without += 1,
            }
        }
        Ok(Self { items, texts: Texts { all, group: Group::Document, n_too_long: 0 }, n_without })
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Tokens that the base reads in all: of an answer all but the last, which is predicted and never read.
    #[must_use]
    pub fn n_read(&self) -> usize {
        let of_text = |text: &Text| text.prompts.lane(0).len() + text.n_tokens() - text.answers.len();
        self.texts.all.iter().map(of_text).sum()
    }

    /// Tokens that a lane reads of an item at most.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.texts.all.iter().map(Text::longest).max().unwrap_or(0)
    }
}

/// An item as what lanes read of it; `None` where there is nothing to predict.
fn text(loaded: &Loaded, questions: &Questions<'_>, item: &Item) -> Result<Option<Text>, Error> {
    let conversation = questions.conversation(item);
    match &item.wanted {
        Wanted::Choice(choices) => {
            let answers: Vec<_> = choices.texts.iter().map(|text| format!("{BEFORE_ANSWER}{text}")).collect();
            Text::answers(loaded, &conversation, &answers).map(Some)
        }
        Wanted::Text(text) if questions.task.spec.prompt.is_empty() => Text::by_itself(loaded, text),
        Wanted::Text(text) => Text::answers(loaded, &conversation, std::slice::from_ref(text)).map(Some),
        Wanted::References(_) | Wanted::Completion { .. } => Ok(None),
    }
}

/// What is known of an item so far.
#[derive(Debug)]
struct Tally {
    /// By contender and answer.
    logprobs: Vec<Vec<f64>>,
    n_left: usize,
}

/// Items that are read, and the time that each lane had taken when the last of them was.
#[derive(Debug, Default)]
struct Done {
    tallies: Vec<(usize, Tally, Vec<Duration>)>,
    busy: Vec<Duration>,
}

/// Reads the open items, as many at once as the ensemble has room for, and adds every contender's answers to the results as
/// they come. `cancel` is looked at between steps: what is not answered until then is for a later run. `progress` hears of
/// every step.
pub fn run(
    ensemble: &mut Ensemble,
    open: &Open,
    contenders: &[Contender],
    questions: &Questions<'_>,
    results: &mut Results,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(Pace),
) -> Result<(), RunError> {
    let topology = ensemble.topology().clone();
    let subjects = contenders.iter().map(|contender| subject(&topology, contender)).collect::<Result<Vec<_>, _>>()?;
    let n_bytes = open.texts.all.iter().map(|text| n_bytes(ensemble, text)).collect::<Result<Vec<_>, _>>()?;
    let mut running: Vec<Option<Tally>> = open.texts.all.iter().map(|_| None).collect();
    let done = RefCell::new(Done { busy: busy(ensemble), ..Done::default() });

    let mut predictions: Vec<_> = subjects.iter().map(|_| Prediction::default()).collect();
    // The text whose answers all begin behind the same row.
    let mut filled = None;
    let at = Cell::new(None);
    let each = |predicted: &Predicted<'_>| {
        let Predicted { ensemble, sequence, text, answer, position, token } = *predicted;
        at.set(Some(text));
        let topology = ensemble.topology();
        if filled != Some(text) || position > 0 {
            ensemble.check_finite(sequence, position)?;
            let row = |lane| ensemble.lane_row(sequence, lane, position);
            for (subject, prediction) in subjects.iter().zip(&mut predictions) {
                prediction.fill(topology, subject, position, row)?;
            }
            filled = Some(text).filter(|_| position == 0);
        }
        let of_text = &open.texts.all[text];
        let tally = running[text].get_or_insert_with(|| Tally {
            logprobs: vec![vec![0.0; of_text.answers.len()]; subjects.len()],
            n_left: of_text.n_tokens(),
        });
        for ((subject, prediction), logprobs) in subjects.iter().zip(&predictions).zip(&mut tally.logprobs) {
            logprobs[answer] -= prediction.loss(topology, subject, token)?;
        }
        tally.n_left -= 1;
        if tally.n_left == 0
            && let Some(tally) = running[text].take()
        {
            let (mut done, now) = (done.borrow_mut(), busy(ensemble));
            let took = now.iter().zip(&done.busy).map(|(now, before)| now.saturating_sub(*before)).collect();
            done.busy = now;
            done.tallies.push((text, tally, took));
        }
        Ok(())
    };
    let mut pace = Pace::default();
    let mut add = || -> Result<(), TaskError> {
        for (text, tally, took) in done.borrow_mut().tallies.drain(..) {
            let (item, n_tokens) = (open.items[text], open.texts.all[text].n_tokens());
            for ((contender, subject), logprobs) in contenders.iter().zip(&subjects).zip(tally.logprobs) {
                if results.has(&contender.name, item) {
                    continue;
                }
                let took: Duration = match subject {
                    Subject::Alone(lane) => took[*lane],
                    Subject::Sum(_) => took.iter().sum(),
                };
                results.add(Record {
                    item,
                    contender: contender.name.clone(),
                    scores: scores(&questions.items[item].wanted, &logprobs, n_tokens, n_bytes[text]).collect(),
                    n_tokens,
                    wall_seconds: took.as_secs_f64(),
                    answer: Answered::Scored { logprobs, n_bytes: n_bytes[text] },
                })?;
                pace.n_items += 1;
            }
            pace.n_tokens += n_tokens;
        }
        progress(pace);
        Ok(())
    };
    let mut failed = None;
    let read = reading::read(ensemble, &open.texts, each, |_| {
        failed = failed.take().or_else(|| add().err());
        failed.is_none() && !cancel.load(Ordering::Relaxed)
    });
    // What was read before an error counts.
    failed.map_or_else(add, Err)?;
    let item = |at: Option<usize>| at.map(|text| open.items[text]);
    read.map(drop).map_err(|error| RunError::Given { item: item(at.get()), source: error.into() })
}

fn subject(topology: &Topology, contender: &Contender) -> Result<Subject, Error> {
    match contender.sampled {
        Sampled::Alone(role) => topology.lane(role).map(Subject::Alone).ok_or(Error::NoLane { role }),
        Sampled::Steered => topology.weights(&contender.weights).map(Subject::Sum),
    }
}

fn busy(ensemble: &Ensemble) -> Vec<Duration> {
    (0..ensemble.lanes().len()).map(|lane| ensemble.busy_on(lane)).collect()
}

/// Bytes of the tokens that are scored.
fn n_bytes(ensemble: &Ensemble, text: &Text) -> Result<usize, Error> {
    let mut bytes = Vec::new();
    for &token in text.answers.iter().flatten() {
        ensemble.model(0).append_piece(token, &mut bytes).map_err(in_lane(Role::Base))?;
    }
    Ok(bytes.len())
}

fn scores(
    wanted: &Wanted,
    logprobs: &[f64],
    n_tokens: usize,
    n_bytes: usize,
) -> impl Iterator<Item = (String, f64)> + use<> {
    let scores = match wanted {
        Wanted::Choice(choices) => choice::SCORES.into_iter().zip(choices.scores(logprobs)).collect(),
        Wanted::Text(_) => {
            let nats = -logprobs.iter().sum::<f64>();
            vec![(NATS_PER_TOKEN, nats / n_tokens as f64), (BITS_PER_BYTE, nats / LN_2 / n_bytes as f64)]
        }
        Wanted::References(_) | Wanted::Completion { .. } => Vec::new(),
    };
    scores.into_iter().map(|(name, score)| (name.to_owned(), score))
}
