//! Who is connected, and for whom the server waits.
//!
//! A connection is in one of two states: the server works for it, or waits for it: for a request, for the rest of a body, for
//! room to write. Where there is no room for another one, the one that is waited for longest gives up its place: clients that
//! stall, however many, never keep out one that talks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};

/// Every connection.
pub struct Clients {
    most: usize,
    next: AtomicUsize,
    present: Mutex<BTreeMap<usize, Arc<Standing>>>,
    /// One has left, or is waited for.
    changed: Notify,
    n_answering: watch::Sender<usize>,
    is_draining: AtomicBool,
    closing: watch::Sender<bool>,
}

/// How one connection stands.
struct Standing {
    waits: Mutex<Waits>,
    evicted: Notify,
}

/// Since when the server waits.
#[derive(Default)]
struct Waits {
    /// For a request, or for the rest of one.
    to_read: Option<Instant>,
    /// For room to write.
    to_write: Option<Instant>,
}

impl Waits {
    fn since(&self) -> Option<Instant> {
        [self.to_read, self.to_write].into_iter().flatten().min()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clients {
    /// Room for `most` connections.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            next: AtomicUsize::new(0),
            present: Mutex::default(),
            changed: Notify::new(),
            n_answering: watch::Sender::new(0),
            is_draining: AtomicBool::new(false),
            closing: watch::Sender::new(false),
        })
    }

    /// A place for a connection, as soon as there is one.
    pub async fn enter(self: &Arc<Self>) -> Client {
        loop {
            if let Some(client) = self.try_enter() {
                return client;
            }
            self.changed.notified().await;
        }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Client> {
        let mut present = locked(&self.present);
        if present.len() >= self.most {
            Self::evict(&mut present)?;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let waits = Waits { to_read: Some(Instant::now()), to_write: None };
        let standing = Arc::new(Standing { waits: Mutex::new(waits), evicted: Notify::new() });
        present.insert(id, standing.clone());
        Some(Client(Arc::new(Place { id, clients: self.clone(), standing })))
    }

    /// Ends the connection that is waited for longest, if any is.
    pub fn evict_one(&self) {
        Self::evict(&mut locked(&self.present));
    }

    fn evict(present: &mut BTreeMap<usize, Arc<Standing>>) -> Option<()> {
        let since = |standing: &Standing| locked(&standing.waits).since();
        let waited = present.iter().filter_map(|(id, standing)| Some((since(standing)?, *id)));
        let (_, id) = waited.min()?;
        // It counts no longer, though its task takes a moment to end.
        present.remove(&id)?.evicted.notify_one();
        Some(())
    }

    /// Requests are refused from now on.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    /// Waits until no request is being answered.
    pub async fn quiet(&self) {
        let _ = self.n_answering.subscribe().wait_for(|n| *n == 0).await;
    }

    /// Ends connections as soon as they have written what there is to write, and waits until none is left.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        while !locked(&self.present).is_empty() {
            self.changed.notified().await;
        }
    }
}

/// A connection's place; it leaves when the last copy is dropped.
#[derive(Clone)]
pub struct Client(Arc<Place>);

struct Place {
    id: usize,
    clients: Arc<Clients>,
    standing: Arc<Standing>,
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.clients.present).remove(&self.id);
        self.clients.changed.notify_one();
    }
}

impl Client {
    pub fn clients(&self) -> &Clients {
        &self.0.clients
    }

    /// A request has come: the server works until the value is dropped, and then waits for the next one.
    pub fn begin(&self) -> Answering {
        self.0.clients.n_answering.send_modify(|n| *n += 1);
        self.awaits_body(false);
        Answering(self.clone())
    }

    /// Whether more of a body has to come.
    pub fn awaits_body(&self, is_awaited: bool) {
        self.set(|waits| waits.to_read = is_awaited.then(Instant::now));
    }

    /// Whether there is no room to write.
    pub fn awaits_reader(&self, is_awaited: bool) {
        self.set(|waits| waits.to_write = is_awaited.then(Instant::now));
    }

    fn set(&self, set: impl FnOnce(&mut Waits)) {
        let mut waits = locked(&self.0.standing.waits);
        set(&mut waits);
        if waits.since().is_some() {
            self.0.clients.changed.notify_one();
        }
    }

    /// Its place is needed for another one.
    pub async fn evicted(&self) {
        self.0.standing.evicted.notified().await;
    }

    /// It is to end once it has nothing more to write.
    pub async fn closing(&self) {
        let _ = self.0.clients.closing.subscribe().wait_for(|is_closing| *is_closing).await;
    }
}

/// A request that is being answered.
pub struct Answering(Client);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.awaits_body(true);
        self.0.0.clients.n_answering.send_modify(|n| *n -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("in time") });
    }

    #[test]
    fn the_one_that_is_waited_for_longest_makes_room() {
        run(async {
            let clients = Clients::new(2);
            let (first, second) = (clients.enter().await, clients.enter().await);
            let answering = first.begin();
            let third = clients.enter().await;
            second.evicted().await;
            let fourth = clients.enter().await;
            third.evicted().await;
            drop(answering);
            // Its request was answered later than the fourth came.
            let _fifth = clients.enter().await;
            fourth.evicted().await;
        });
    }

    #[test]
    fn a_place_is_waited_for_where_all_are_worked_for() {
        run(async {
            let clients = Clients::new(1);
            let client = clients.enter().await;
            let answering = client.begin();
            assert!(clients.try_enter().is_none());
            client.awaits_reader(true);
            assert!(clients.try_enter().is_some());
            drop((answering, client));
            clients.quiet().await;
            clients.close().await;
        });
    }
}
