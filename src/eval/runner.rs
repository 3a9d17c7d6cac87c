//! Items whose answers are written, through an engine: contender by contender, many items at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::contender::Contender;
use super::exact::Scored;
use super::item::{Item, Wanted};
use super::questions::{Pace, Questions, RunError};
use super::results::{Answered, Record, Results};
use crate::engine::{Engine, Id};
use crate::generate::{Answer, Draft, Finish, Request};

/// What an engine is asked.
fn request(questions: &Questions<'_>, contender: &Contender, item: &Item) -> Request {
    let Contender { sampled, weights, .. } = contender.clone();
    Request {
        sampled,
        weights,
        sampling: questions.sampling.clone(),
        n_predict: questions.task.n_written(),
        stop: questions.task.spec.stop.clone(),
        // Drafts pay where one text runs by itself, and change what a batch holds.
        draft: Draft::off(),
        ..Request::of(questions.conversation(item))
    }
}

/// What each filter finds in an answer, and 1 where that is right, else 0; by the filters' names.
fn score(
    questions: &Questions<'_>,
    item: &Item,
    text: &str,
) -> (BTreeMap<String, Option<String>>, BTreeMap<String, f64>) {
    let (Some(exact), Wanted::References(references)) = (questions.task.exact(), &item.wanted) else {
        return (BTreeMap::new(), BTreeMap::new());
    };
    let scored = exact.names().map(str::to_owned).zip(exact.score(text, references));
    let points = |scored: &Scored| if scored.is_correct { 1.0 } else { 0.0 };
    scored.map(|(name, scored)| ((name.clone(), scored.extracted.clone()), (name, points(&scored)))).unzip()
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
            let request = request(questions, contender, &questions.items[item]);
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
            let (extracted, scores) = score(questions, &questions.items[item], &answer.text);
            results.add(Record {
                item,
                contender: contender.name.clone(),
                scores,
                n_tokens: answer.tokens.len(),
                wall_seconds: since.elapsed().as_secs_f64(),
                answer: Answered::Written {
                    text: answer.text,
                    extracted,
                    finish_reason: answer.finish.map_or("", Finish::name).to_owned(),
                    seconds: answer.prompt_seconds + answer.seconds,
                },
            })?;
            since = Instant::now();
            pace.n_items += 1;
        }
        progress(pace);
    }
    Ok(())
}
