//! Who listens to which request.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Id;
use crate::generate::event::{Event, Failed, Failure, Kind};

/// Hears of a request's events, one after the other up to the last, and answers whether anybody still listens; a request
/// without a listener is cancelled. It is called on the thread that moves the engine on, so it must not block.
pub type Listener = Box<dyn FnMut(Event) -> bool + Send>;

/// `None` once nobody listens any more.
type Ear = Arc<Mutex<Option<Listener>>>;

/// The listeners of all requests that have not ended.
#[derive(Default)]
pub(super) struct Listeners(Mutex<BTreeMap<Id, Ear>>);

/// What came of telling a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It goes on listening, or has heard the last event.
    Yes,
    /// It has just stopped listening: the request is to be cancelled.
    No,
    /// It stopped before, or there was none.
    Gone,
}

impl Listeners {
    fn ears(&self) -> MutexGuard<'_, BTreeMap<Id, Ear>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, id: Id, listener: Listener) {
        self.ears().insert(id, Arc::new(Mutex::new(Some(listener))));
    }

    /// Requests that have not ended.
    pub fn len(&self) -> usize {
        self.ears().len()
    }

    /// Whether a request has not ended.
    pub fn has(&self, id: Id) -> bool {
        self.ears().contains_key(&id)
    }

    /// Forgets a request of which nothing more will be told.
    pub fn remove(&self, id: Id) {
        self.ears().remove(&id);
    }

    /// Hands an event on; the last one ends the request.
    pub fn tell(&self, id: Id, event: Event) -> Heard {
        let is_last = event.is_last();
        // Not while the map is locked: a listener may look at the engine, and others are told meanwhile.
        let ear = if is_last { self.ears().remove(&id) } else { self.ears().get(&id).cloned() };
        let Some(ear) = ear else { return Heard::Gone };
        let mut listener = ear.lock().unwrap_or_else(PoisonError::into_inner);
        // One that panics listens no more, and takes nobody else along.
        let call = |listener: &mut Listener| catch_unwind(AssertUnwindSafe(|| listener(event))).unwrap_or(false);
        let Some(is_heard) = listener.as_mut().map(call) else { return Heard::Gone };
        if is_last || !is_heard {
            *listener = None;
        }
        if is_last || is_heard { Heard::Yes } else { Heard::No }
    }

    /// Ends a request with a failure.
    pub fn fail(&self, id: Id, failure: Failure) {
        self.tell(id, Event::Failed(Failed { failure, text: String::new() }));
    }

    /// Ends every request with a failure.
    pub fn fail_all(&self, failure: &Failure) {
        let ids: Vec<Id> = self.ears().keys().copied().collect();
        for id in ids {
            self.fail(id, failure.clone());
        }
    }
}

/// What is told to those who wait for an engine that is gone.
pub(super) fn has_ended() -> Failure {
    Failure { kind: Kind::Unavailable, message: "the engine has ended".to_owned(), hint: None }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listeners").field("ids", &self.ears().keys().collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(n: usize) -> Event {
        Event::Read { n }
    }

    #[test]
    fn a_request_ends_with_its_last_event_and_nothing_comes_after_it() {
        let listeners = Listeners::default();
        let (sender, heard) = std::sync::mpsc::channel();
        listeners.add(7, Box::new(move |event| sender.send(event).is_ok()));
        assert_eq!(listeners.tell(7, read(1)), Heard::Yes);
        listeners.fail_all(&Failure::busy("full"));
        assert_eq!(listeners.tell(7, read(2)), Heard::Gone);
        assert_eq!(listeners.len(), 0);
        let heard: Vec<_> = heard.iter().collect();
        assert!(matches!(&heard[..], [Event::Read { n: 1 }, Event::Failed(_)]), "{heard:?}");
    }

    #[test]
    fn who_stops_listening_or_panics_is_not_called_again() {
        let listeners = Listeners::default();
        listeners.add(1, Box::new(|_| false));
        listeners.add(2, Box::new(|_| panic!("a listener's own fault")));
        for id in [1, 2] {
            assert_eq!([listeners.tell(id, read(1)), listeners.tell(id, read(2))], [Heard::No, Heard::Gone]);
        }
        assert_eq!(listeners.len(), 2, "they have not ended yet");
        listeners.fail_all(&Failure::busy("full"));
        assert_eq!(listeners.len(), 0);
    }
}
