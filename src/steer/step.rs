//! The one way to decode: sequences say what they lack, and every context decodes it in one batch.
//!
//! ```text
//! works ─ what each lane lacks ─► parts by context ─ submit to every context, then wait for each ─► n_held, rows
//! ```
//!
//! Reading a prompt, decoding a token, decoding ahead on one lane and scoring are the same step with other lanes and
//! outputs. A batch that fails is decoded again in halves, until the work that fails is alone: the others do not notice,
//! and that one holds what it held before, or nothing where its model cannot take a part back.

use super::context::{Context, Failure, Remote};
use super::error::Error;
use super::sequence::{Sequence, Track};
use super::{Ensemble, Lane};
use crate::llama::context::{self, Outputs, Part};

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
                results[item.work] = Err(error.of(lanes[item.lane].role));
            }
        }
        items.retain(|item| results[item.work].is_ok());
        // Streams are computed together where their sequences follow one another.
        items.sort_by_key(|item| (item.context, works[item.work].sequence.tracks[item.lane].seq));
        let in_context: Vec<&[Item]> = items.chunk_by(|a, b| a.context == b.context).collect();

        let mut failed = |item: &Item, failure: Failure| results[item.work] = Err(failure.of(lanes[item.lane].role));
        let mut submitted = Vec::with_capacity(in_context.len());
        for items in &in_context {
            submitted.push(match &mut self.contexts[items[0].context] {
                Context::Local(context) => submit(context, items, works).is_ok(),
                Context::Remote(remote) => {
                    send(remote, items, works, &mut failed);
                    true
                }
            });
        }
        let mut done = Vec::with_capacity(items.len());
        // A server computes while the others do, so it is waited for last.
        let is_remote = |(items, _): &(&&[Item], bool)| self.contexts[items[0].context].remote().is_some();
        let (servers, own): (Vec<_>, Vec<_>) = in_context.iter().zip(submitted).partition(is_remote);
        for (items, submitted) in own.into_iter().chain(servers) {
            match &mut self.contexts[items[0].context] {
                Context::Local(context) if submitted => {
                    context.wait();
                    for item in *items {
                        let keeps_rows = works[item.work].ahead.is_some();
                        advance(item, works, keeps_rows.then_some(&*context));
                        done.push(*item);
                    }
                }
                Context::Local(context) => halve(context, items, works, &mut done, &mut failed),
                Context::Remote(remote) => {
                    for item in *items {
                        match remote.collect(&works[item.work].part(item)) {
                            Ok(()) => {
                                advance(item, works, None);
                                done.push(*item);
                            }
                            Err(error) => failed(item, error.into()),
                        }
                    }
                }
            }
        }
        self.draw_all(&items, works, &mut results);
        self.name_all(&items, works, &mut results);
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
    /// Lets a server draw the tokens of the works that want rows, once the other lanes' are there.
    fn draw_all(&mut self, items: &[Item], works: &mut [Work<'_>], results: &mut [Result<(), Error>]) {
        let base = |item: &&Item| item.lane == works[item.work].sequence.sampled() && item.outputs != Outputs::None;
        let drawn: Vec<usize> = items
            .iter()
            .filter(base)
            .map(|item| item.work)
            .filter(|&work| results[work].is_ok() && self.is_drawn(works[work].sequence))
            .collect();
        for &work in &drawn {
            if let Err(error) = self.send_offset(works[work].sequence) {
                results[work] = Err(error);
            }
        }
        for &work in &drawn {
            if results[work].is_ok()
                && let Err(error) = self.collect_drawn(works[work].sequence)
            {
                results[work] = Err(error);
            }
        }
    }

    /// Asks servers that tell of ids by name for those that could matter to what is about to be chosen.
    fn name_all(&mut self, items: &[Item], works: &mut [Work<'_>], results: &mut [Result<(), Error>]) {
        if self.server().is_none_or(|server| server.n_named().is_none()) {
            return;
        }
        let is_chosen_from = |item: &&Item| {
            let Work { sequence, ahead, .. } = &works[item.work];
            let is_of_base = item.lane == sequence.sampled() && sequence.is_steered() && ahead.is_none();
            is_of_base && matches!(item.outputs, Outputs::Last | Outputs::All) && results[item.work].is_ok()
        };
        let of_base: Vec<Item> = items.iter().filter(is_chosen_from).copied().collect();
        let mut asked = Vec::new();
        for item in of_base {
            let n_rows = if item.outputs == Outputs::All { item.n } else { 1 };
            match self.ask_for_hidden(works[item.work].sequence, n_rows) {
                Ok(true) => asked.push(item.work),
                Ok(false) => {}
                Err(error) => results[item.work] = Err(error),
            }
        }
        for work in asked {
            if let Err(error) = self.collect_named(works[work].sequence) {
                results[work] = Err(error);
            }
        }
    }

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

fn submit(context: &mut context::Context, items: &[Item], works: &[Work<'_>]) -> Result<(), crate::llama::Error> {
    context.submit(items.iter().map(|item| works[item.work].part(item)))
}

/// Sends every text's request, and tells of those that cannot be.
fn send(remote: &mut Remote, items: &[Item], works: &[Work<'_>], failed: &mut dyn FnMut(&Item, Failure)) {
    for item in items {
        if let Err(error) = remote.submit(&works[item.work].part(item)) {
            failed(item, error.into());
        }
    }
}

/// Takes in what a lane has decoded. Rows that a later decode of a context would take away are copied from it.
fn advance(item: &Item, works: &mut [Work<'_>], keep_from: Option<&context::Context>) {
    let (n_rows, first) = works[item.work].part(item).rows();
    let track = &mut works[item.work].sequence.tracks[item.lane];
    let first_row = track.n_held + first;
    track.n_held += item.n;
    if track.is_settled || track.n_kept == 0 || track.first_row + track.n_kept != first_row {
        track.forget_rows();
        track.first_row = first_row;
    }
    if let Some(context) = keep_from {
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
    context: &mut context::Context,
    items: &[Item],
    works: &mut [Work<'_>],
    done: &mut Vec<Item>,
    failed: &mut dyn FnMut(&Item, Failure),
) {
    let items: Vec<Item> = items.iter().copied().filter(|item| holds_all(context, item, works)).collect();
    if items.is_empty() {
        return;
    }
    match submit(context, &items, works) {
        Ok(()) => {
            context.wait();
            for item in items {
                advance(&item, works, Some(context));
                done.push(item);
            }
        }
        Err(error) if items.len() == 1 => {
            holds_all(context, &items[0], works);
            failed(&items[0], error.into());
        }
        Err(_) => {
            let (front, back) = items.split_at(items.len() / 2);
            halve(context, front, works, done, failed);
            halve(context, back, works, done, failed);
        }
    }
}

/// Whether a lane still holds what it held before the step; it is told what is left.
fn holds_all(context: &context::Context, item: &Item, works: &mut [Work<'_>]) -> bool {
    let track = &mut works[item.work].sequence.tracks[item.lane];
    let n_past = context.n_past(track.seq);
    let holds = n_past >= track.n_held;
    if !holds {
        track.n_held = n_past;
        track.forget_rows();
    }
    holds
}
