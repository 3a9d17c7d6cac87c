//! The one way to decode: sequences say what they lack, and every context decodes it in one batch.
//!
//! ```text
//! works ─ what each lane lacks ─► parts by context ─ submit to every context, then wait for each ─► n_held, rows
//! ```
//!
//! Reading a prompt, decoding a token, decoding ahead on one lane and scoring are the same step with other lanes and
//! outputs. A batch that fails is decoded again in halves, until the work that fails is alone: the others do not notice,
//! and that one holds what it held before, or nothing where its model cannot take a part back.

use super::error::{Error, in_lane};
use super::sequence::{Sequence, Track};
use super::{Ensemble, Lane};
use crate::llama::context::{Context, Outputs, Part};

/// What one sequence is to decode in a step.
#[derive(Debug)]
pub struct Work<'a> {
    pub sequence: &'a mut Sequence,
    /// Most tokens on each lane.
    pub n_tokens: usize,
    /// The rows that are put out. [`Outputs::Last`]: behind the last token that is wanted, once all lanes can come to it in
    /// one step; until then each stops before it.
    pub outputs: Outputs,
    /// The only lane that decodes, ahead of the others; its rows last until they have caught up. `None`: all in use.
    pub ahead: Option<usize>,
}

/// What a lane decodes for a work.
#[derive(Debug, Clone, Copy)]
struct Item {
    work: usize,
    lane: usize,
    context: usize,
    n: usize,
    outputs: Outputs,
}

impl Work<'_> {
    fn items<'a>(&'a self, work: usize, lanes: &'a [Lane]) -> impl Iterator<Item = Item> + 'a {
        let Self { sequence, n_tokens, outputs, ahead } = self;
        let decodes = move |lane: &usize| ahead.is_none_or(|ahead| ahead == *lane);
        let all_arrive = sequence.awake().filter(decodes).all(|lane| sequence.tracks[lane].n_missing() <= *n_tokens);
        let stops_before = *outputs == Outputs::Last && !all_arrive;
        sequence.awake().filter(decodes).filter_map(move |lane| {
            let n_missing =
                sequence.tracks[lane].n_missing() - usize::from(stops_before).min(sequence.tracks[lane].n_missing());
            let n = n_missing.min(*n_tokens);
            let outputs = if stops_before { Outputs::None } else { *outputs };
            (n > 0).then_some(Item { work, lane, context: lanes[lane].context, n, outputs })
        })
    }

    fn part(&self, item: &Item) -> Part<'_> {
        let Track { seq, wanted, n_held, .. } = &self.sequence.tracks[item.lane];
        Part { seq: *seq, tokens: &wanted[*n_held..][..item.n], outputs: item.outputs }
    }
}

impl Ensemble {
    /// Decodes; for each work whether that succeeded. A work that failed has moved on no lane. One that succeeded may lack
    /// tokens where a lane lost what it held to the failure of another: [`Sequence::n_missing`] tells.
    pub fn step(&mut self, works: &mut [Work<'_>]) -> Vec<Result<(), Error>> {
        let mut results: Vec<Result<(), Error>> = works.iter().map(|_| Ok(())).collect();
        let lanes = &self.topology.clone().lanes;
        let mut items: Vec<Item> = works.iter().enumerate().flat_map(|(i, work)| work.items(i, lanes)).collect();
        // What could never be decoded is nobody else's concern.
        for item in &items {
            let work = &works[item.work];
            if results[item.work].is_ok()
                && let Err(error) = self.contexts[item.context].check(&work.part(item))
            {
                results[item.work] = Err(in_lane(lanes[item.lane].role)(error));
            }
        }
        items.retain(|item| results[item.work].is_ok());
        // Streams are computed together where their sequences follow one another.
        items.sort_by_key(|item| (item.context, works[item.work].sequence.tracks[item.lane].seq));
        let in_context: Vec<&[Item]> = items.chunk_by(|a, b| a.context == b.context).collect();

        let submitted: Vec<bool> =
            in_context.iter().map(|items| submit(&mut self.contexts[items[0].context], items, works).is_ok()).collect();
        let mut done = Vec::with_capacity(items.len());
        for (items, submitted) in in_context.iter().zip(submitted) {
            let context = &mut self.contexts[items[0].context];
            if submitted {
                context.wait();
                for item in *items {
                    advance(context, item, works, works[item.work].ahead.is_some());
                    done.push(*item);
                }
            } else {
                let failed = |item: &Item, error| in_lane(lanes[item.lane].role)(error);
                halve(context, items, works, &mut done, &mut |item, error| {
                    results[item.work] = Err(failed(item, error));
                });
            }
        }
        for item in done.iter().filter(|item| results[item.work].is_err()) {
            let n_held = works[item.work].sequence.tracks[item.lane].n_held - item.n;
            self.roll_back(works[item.work].sequence, item.lane, n_held);
        }
        for work in works.iter_mut().filter(|work| work.ahead.is_none()) {
            for lane in work.sequence.lanes() {
                work.sequence.tracks[lane].is_settled = true;
            }
        }
        results
    }
}

impl Ensemble {
    /// Reads what a sequence wants to its end, a batch at a time, by itself: a row behind the last token of each lane.
    /// `goes_on` is asked before each batch; whether all was read.
    pub fn read(&mut self, sequence: &mut Sequence, mut goes_on: impl FnMut() -> bool) -> Result<bool, Error> {
        let n_tokens = self.n_batch();
        while sequence.n_missing() > 0 {
            if !goes_on() {
                return Ok(false);
            }
            let work = Work { sequence, n_tokens, outputs: Outputs::Last, ahead: None };
            self.step(&mut [work]).into_iter().collect::<Result<(), _>>()?;
        }
        Ok(true)
    }
}

fn submit(context: &mut Context, items: &[Item], works: &[Work<'_>]) -> Result<(), crate::llama::Error> {
    context.submit(items.iter().map(|item| works[item.work].part(item)))
}

/// Takes in what a lane has decoded. Rows that a later decode of the context would take away are copied.
fn advance(context: &Context, item: &Item, works: &mut [Work<'_>], keeps_rows: bool) {
    let (n_rows, first) = works[item.work].part(item).rows();
    let track = &mut works[item.work].sequence.tracks[item.lane];
    let first_row = track.n_held + first;
    track.n_held += item.n;
    if track.is_settled || track.n_kept == 0 || track.first_row + track.n_kept != first_row {
        track.forget_rows();
        track.first_row = first_row;
    }
    if keeps_rows {
        for i in 0..n_rows {
            // Those of the last decode are there.
            if let Ok(row) = context.row(track.seq, i) {
                track.kept.extend_from_slice(row);
                track.n_kept += 1;
            }
        }
    }
}

/// Decodes in smaller and smaller batches what could not be decoded in one, and tells which items fail by themselves. A
/// lane that had to forget, since its model cannot take a part back, does not move on: it lacks its whole text from then on.
fn halve(
    context: &mut Context,
    items: &[Item],
    works: &mut [Work<'_>],
    done: &mut Vec<Item>,
    failed: &mut dyn FnMut(&Item, crate::llama::Error),
) {
    let items: Vec<Item> = items.iter().copied().filter(|item| holds_all(context, item, works)).collect();
    if items.is_empty() {
        return;
    }
    match submit(context, &items, works) {
        Ok(()) => {
            context.wait();
            for item in items {
                advance(context, &item, works, true);
                done.push(item);
            }
        }
        Err(error) if items.len() == 1 => {
            holds_all(context, &items[0], works);
            failed(&items[0], error);
        }
        Err(_) => {
            let (front, back) = items.split_at(items.len() / 2);
            halve(context, front, works, done, failed);
            halve(context, back, works, done, failed);
        }
    }
}

/// Whether a lane still holds what it held before the step; it is told what is left.
fn holds_all(context: &Context, item: &Item, works: &mut [Work<'_>]) -> bool {
    let track = &mut works[item.work].sequence.tracks[item.lane];
    let n_past = context.n_past(track.seq);
    let holds = n_past >= track.n_held;
    if !holds {
        track.n_held = n_past;
        track.forget_rows();
    }
    holds
}
