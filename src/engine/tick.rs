//! One tick of the texts on one ensemble.
//!
//! Costs are learnt from ticks in which every text is being written and is of one kind: a piece of a prompt, or a model by
//! itself beside steered texts, costs something else. Where lanes rest, what was learnt follows them with the last few ticks.

use std::time::{Duration, Instant};

use super::resident::Resident;
use super::slot::Slot;
use super::{Id, Settings};
use crate::generate::draft::{MAX_STEP, Order, Round, Share};
use crate::generate::event::Event;
use crate::steer::{Error, Sequence, Work};

/// Most tokens of all texts in a step that still pay where a lane is on a device.
const MAX_TOKENS_ON_DEVICES: usize = 8;

/// Decodes what every text wants, and tells what comes of it.
pub(super) fn run(
    resident: &mut Resident,
    slots: &mut [&mut Slot],
    settings: &Settings,
    emit: &mut dyn FnMut(Id, Event),
) {
    let began = Instant::now();
    // What there is to tell is told at the end: nobody's terminal slows the others down, or counts as decoding.
    let mut told: Vec<(Id, Event)> = Vec::new();
    let mut hear = |id, event| told.push((id, event));
    want(resident, slots, settings, &mut hear);
    let n_ahead = draft(resident, slots);
    let kinds: Vec<usize> = slots.iter().map(|slot| resident.kind(&slot.task)).collect();
    let is_pure = slots.iter().all(|slot| slot.task.is_writing() && !slot.has_ended);
    let kind = kinds.first().copied().filter(|kind| is_pure && kinds.iter().all(|other| other == kind));
    let order = slots.iter().find_map(|slot| slot.task.drafter()).map_or(Order::AtOnce, Order::Behind);
    let n_step = slots.iter().map(|slot| slot.task.n_wanted()).sum();

    let spent = step(resident, slots, &mut hear);
    // A step that failed for somebody was not one step.
    let kind = kind.filter(|_| slots.iter().all(|slot| !slot.has_ended));
    let (mut n_tokens, mut by_model, mut is_plain) = (0, false, true);
    let mut events = Vec::new();
    for (slot, &kind) in slots.iter_mut().zip(&kinds).filter(|(slot, _)| !slot.has_ended) {
        let was_reading = slot.writes_since.is_none();
        let Resident { ensemble, policies, .. } = resident;
        match slot.task.take(ensemble, &mut policies[kind], &mut events) {
            Ok(taken) => {
                n_tokens += taken.n_tokens;
                by_model |= taken.by_model;
                is_plain &= taken.n_drafted == 0;
                slot.has_ended = taken.has_ended;
            }
            Err(error) => slot.fail(error, resident, &mut events),
        }
        if was_reading && slot.task.is_writing() {
            slot.writes_since = Some(Instant::now());
        }
        slot.tell(&mut events, &mut hear);
    }
    if let Some(policy) = kind.map(|kind| &mut resident.policies[kind]) {
        policy.costs_mut().add_step(order, n_step, spent);
        let (n_texts, spent) = (slots.len(), began.elapsed());
        policy.learn(Round { n_texts, n_tokens, by_model, is_plain, n_ahead, n_step, order, spent });
    }
    for (id, event) in told {
        emit(id, event);
    }
}

/// What every text brings: writing ones a token and what their text suggests, reading ones their share of the budget.
fn want(resident: &mut Resident, slots: &mut [&mut Slot], settings: &Settings, hear: &mut dyn FnMut(Id, Event)) {
    let n_writing = slots.iter().filter(|slot| slot.task.is_writing()).count();
    let n_batch = resident.ensemble.n_batch().saturating_sub(n_writing).max(1);
    let n_chunk = if n_writing > 0 { settings.n_chunk.max(1).min(n_batch) } else { n_batch };
    let n_missing =
        |slot: &&mut Slot| slot.task.sequence().filter(|_| !slot.task.is_writing()).map(Sequence::n_missing);
    let mut n_left = slots.iter().filter_map(n_missing).sum::<usize>().min(n_chunk);
    // Where there is little room left, every text gets its next token before any gets a draft or a piece of a prompt.
    let is_roomy = resident.make_room(n_writing * MAX_STEP + n_left);
    if !is_roomy {
        n_left = n_left.min(resident.ensemble.n_room().saturating_sub(n_writing));
    }
    // A text that catches up in the middle of its answer does not wait behind prompts.
    let mut order: Vec<usize> = (0..slots.len()).collect();
    order.sort_by_key(|&i| !slots[i].task.is_catching_up());
    for i in order {
        let kind = resident.kind(&slots[i].task);
        let share = if slots[i].task.is_writing() {
            let share = share(resident, slots, i);
            Share { n_max: if is_roomy { share.n_max } else { 1 }, ..share }
        } else {
            let n_max = if slots[i].task.is_scoring() { n_left.min(n_scored(resident, slots, i)) } else { n_left };
            Share { n_max, n_texts: n_writing, n_other: 0 }
        };
        let Resident { ensemble, policies, .. } = resident;
        let slot = &mut *slots[i];
        match slot.task.want(ensemble, &policies[kind], share) {
            Ok(()) if !slot.task.is_writing() => n_left = n_left.saturating_sub(slot.task.n_wanted()),
            Ok(()) => {}
            Err(error) => end(slot, error, resident, hear),
        }
    }
}

/// Rows that the others leave to one text.
fn n_rows_left(resident: &Resident, slots: &[&mut Slot], of: usize) -> usize {
    let others = slots.iter().enumerate().filter(|(i, slot)| *i != of && !slot.has_ended);
    let n_rows: usize = others.map(|(_, slot)| slot.task.n_rows()).sum();
    resident.ensemble.n_rows_max().saturating_sub(n_rows).max(1)
}

/// Most tokens of a prompt that are looked at in a step. Texts that are being written may still want rows for drafts; they
/// get half of what there is if they need it.
fn n_scored(resident: &Resident, slots: &[&mut Slot], of: usize) -> usize {
    let n_writing = slots.iter().filter(|slot| slot.task.is_writing() && !slot.has_ended).count();
    let n_left = n_rows_left(resident, slots, of);
    n_left - (n_writing * (MAX_STEP - 1)).min(n_left / 2)
}

/// What one text may bring to the step: its own token, and drafts as far as the others leave room for their rows.
fn share(resident: &Resident, slots: &[&mut Slot], of: usize) -> Share {
    let ensemble = &resident.ensemble;
    let others = || slots.iter().enumerate().filter(|(i, slot)| *i != of && !slot.has_ended);
    // A text that reads puts out a row when it is done.
    let n_tokens = |slot: &Slot| if slot.task.is_writing() { slot.task.n_wanted().max(1) } else { 1 };
    let n_tokens_of_others: usize = others().map(|(_, slot)| n_tokens(slot)).sum();
    let n_other = others().filter(|(_, slot)| slot.task.is_writing()).map(|(_, slot)| n_tokens(slot)).sum();
    let mut n_max = n_rows_left(resident, slots, of);
    if ensemble.use_devices() {
        n_max = n_max.min(MAX_TOKENS_ON_DEVICES.saturating_sub(n_tokens_of_others).max(1));
    }
    Share { n_max, n_texts: 1 + others().filter(|(_, slot)| slot.task.is_writing()).count(), n_other }
}

/// Lanes that draft decode ahead, for all texts that wait for it, until none does; tokens that they decoded.
fn draft(resident: &mut Resident, slots: &mut [&mut Slot]) -> usize {
    let mut n_ahead = 0;
    loop {
        let drafting: Vec<(usize, usize)> = slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| !slot.has_ended)
            .filter_map(|(i, slot)| Some((i, slot.task.ahead()?)))
            .collect();
        let Some(&(first, lane)) = drafting.first() else { return n_ahead };
        n_ahead += drafting.len();
        let is_drafting = |i: usize| drafting.iter().any(|(at, _)| *at == i);
        let began = Instant::now();
        let works = slots.iter_mut().enumerate().filter(|(i, _)| is_drafting(*i));
        let mut works: Vec<Work<'_>> = works.filter_map(|(_, slot)| slot.task.ahead_work()).collect();
        let results = resident.ensemble.step(&mut works);
        let spent = began.elapsed() / u32::try_from(drafting.len()).unwrap_or(u32::MAX);
        if results.iter().all(Result::is_ok) && drafting.iter().all(|(_, other)| *other == lane) {
            let kind = resident.kind(&slots[first].task);
            resident.policies[kind].costs_mut().add_ahead(lane, spent);
        }
        for ((i, _), result) in drafting.into_iter().zip(results) {
            let share = share(resident, slots, i);
            let kind = resident.kind(&slots[i].task);
            let Resident { ensemble, policies, .. } = resident;
            let task = &mut slots[i].task;
            // Without a draft the text goes on as it would have.
            if result.and_then(|()| task.draft(ensemble, &policies[kind], share)).is_err() {
                task.drop_drafts(ensemble);
            }
        }
    }
}

/// Decodes everything that is wanted, and ends the texts for which that fails; how long it took.
fn step(resident: &mut Resident, slots: &mut [&mut Slot], hear: &mut dyn FnMut(Id, Event)) -> Duration {
    let n_tokens = slots.iter().filter(|slot| !slot.has_ended).map(|slot| slot.task.n_wanted()).sum();
    resident.make_room(n_tokens);
    let is_any_writing = slots.iter().any(|slot| slot.task.is_writing() && !slot.has_ended);
    let began = Instant::now();
    let mut stepping: Vec<&mut Slot> =
        slots.iter_mut().map(|slot| &mut **slot).filter(|slot| !slot.has_ended && slot.task.n_wanted() > 0).collect();
    let mut works: Vec<Work<'_>> = stepping.iter_mut().filter_map(|slot| slot.task.work()).collect();
    let results = resident.ensemble.step(&mut works);
    let spent = began.elapsed();
    // A prompt for which there is no room waits for those that are being written, or for one that was read before it.
    let mut may_wait = is_any_writing;
    for (slot, result) in stepping.into_iter().zip(results) {
        match result {
            Ok(()) => may_wait |= !slot.task.is_writing(),
            Err(error) if error.is_full() && !slot.task.is_writing() && may_wait => {}
            Err(error) => end(slot, error, resident, hear),
        }
    }
    spent
}

/// Ends a text: where others took its room as one that has become too long, else with the error.
fn end(slot: &mut Slot, error: Error, resident: &mut Resident, hear: &mut dyn FnMut(Id, Event)) {
    let mut events = Vec::new();
    if (slot.task.is_writing() || slot.task.is_catching_up()) && error.is_full() {
        slot.task.end_for_want_of_room(&resident.ensemble, &mut events);
        slot.has_ended = true;
    } else {
        slot.fail(error, resident, &mut events);
    }
    slot.tell(&mut events, hear);
}
