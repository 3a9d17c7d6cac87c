//! How a generation ends: why with a token, and what it tells then.

use super::super::event::{Done, Event, Failed, Failure, Finish, Kind, StopReason};
use super::super::served::Served;
use super::Task;
use crate::llama::Token;
use crate::steer::Ensemble;

impl Task {
    /// Why the text ends with a token, if it does. `n_before`: positions that were chosen before this round.
    pub(super) fn end_with(
        &self,
        token: Token,
        ensemble: &Ensemble,
        n_before: usize,
    ) -> Option<(Finish, Option<StopReason>)> {
        let sequence = self.sequence.as_ref()?;
        if ensemble.ends_of(sequence).is_eog(token) {
            return Some((Finish::Stop, Some(StopReason::Eog(token))));
        }
        if let Some(stop) = self.text.stopped_by() {
            return Some((Finish::Stop, Some(StopReason::Text(stop.to_owned()))));
        }
        let n_behind = n_before + self.drafting.drafts().len() + 1 - self.n_chosen;
        let is_full = ensemble.n_left(sequence) + n_behind == 0;
        (self.n_left == 0 || is_full).then_some((Finish::Length, None))
    }

    pub(super) fn finish(
        &mut self,
        finish: Finish,
        stopped_by: Option<StopReason>,
        ensemble: &Ensemble,
        events: &mut Vec<Event>,
    ) {
        let text = self.text.finish();
        self.asked.hear(&text);
        let by_itself = matches!(stopped_by, Some(StopReason::Eog(_) | StopReason::Grammar));
        let notes = match self.asked.judge(finish, by_itself, self.chain.is_open()) {
            Ok(note) => note.into_iter().collect(),
            Err(message) => {
                let failure = Failure { kind: Kind::Internal, message, hint: None };
                events.push(Event::Failed(Failed { failure, text }));
                return;
            }
        };
        let is_full = finish == Finish::Length && self.n_left > 0;
        let timings = self.sequence.as_ref().map_or_else(Vec::new, |sequence| {
            let of = |role| {
                let lane = ensemble.lane(role).filter(|lane| sequence.lanes().contains(lane))?;
                Some((role, ensemble.timings(sequence, lane)))
            };
            self.roles(ensemble).into_iter().filter_map(of).collect()
        });
        events.push(Event::Done(Done {
            finish,
            stopped_by,
            is_full,
            text,
            notes,
            stats: self.drafting.stats().clone(),
            prompt_seconds: 0.0,
            seconds: 0.0,
            timings,
            served: self.served(ensemble),
        }));
    }

    /// What was asked of the base's server, and what it did not show.
    fn served(&self, ensemble: &Ensemble) -> Option<Served> {
        let requests = ensemble.remote_stats(self.sequence.as_ref()?)?;
        let server = ensemble.server()?;
        let error = 2.0 * server.spec().offset_threshold.unwrap_or(0.0);
        Some(Served { requests, draws: server.draws(), error, ..self.served })
    }

    /// Ends it since other texts have taken the room for its next token.
    pub fn end_for_want_of_room(&mut self, ensemble: &Ensemble, events: &mut Vec<Event>) {
        self.finish(Finish::Length, None, ensemble, events);
    }

    /// Ends it where it stands.
    pub fn cancel(&mut self, ensemble: &Ensemble, events: &mut Vec<Event>) {
        self.finish(Finish::Cancelled, None, ensemble, events);
    }

    /// Ends it with what went wrong.
    pub fn fail(&mut self, failure: Failure, events: &mut Vec<Event>) {
        events.push(Event::Failed(Failed { failure, text: self.text.finish() }));
    }
}
