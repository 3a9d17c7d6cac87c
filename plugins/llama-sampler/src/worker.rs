//! The pair's own thread: it keeps every stage's text and decodes it, each as soon as it changes.
//!
//! Messages of a stage are taken in the order in which they were sent. While there are any, texts only change; what was
//! accepted meanwhile is decoded together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use proxytune::llama::Token;
use proxytune::steer::Pool;
use proxytune::steer::pool::{Place, Rows, Side, Steering, Text};

/// Which stage.
pub type Id = usize;

/// The rows behind a text, or why there are none.
pub type Answer = Result<Arc<Rows>, Arc<str>>;

/// How often a stage's text was changed otherwise than by going on: reading the old one is then of no use.
pub type Changes = Arc<AtomicUsize>;

pub enum Message {
    Open {
        stage: Id,
        changes: Changes,
    },
    /// Ends the place of a stage.
    Close {
        stage: Id,
    },
    Feed {
        stage: Id,
        side: Side,
        tokens: Vec<Token>,
    },
    Accept {
        stage: Id,
        token: Token,
    },
    RollBack {
        stage: Id,
        n: usize,
    },
    Reset {
        stage: Id,
    },
    /// A new stage, with what another one has.
    Copy {
        from: Id,
        stage: Id,
        changes: Changes,
    },
    Rows {
        stage: Id,
        reply: Sender<Answer>,
    },
}

/// A stage's text, and how far it is read.
struct State {
    text: Text,
    place: Option<Place>,
    /// `None` while there is something to decode.
    rows: Option<Answer>,
    changes: Changes,
    n_changes: usize,
}

impl State {
    fn new(steering: &Steering, changes: Changes) -> Self {
        Self { text: steering.begin(), place: None, rows: None, changes, n_changes: 0 }
    }

    fn changed(&mut self) {
        self.n_changes += 1;
        self.rows = None;
    }

    fn is_due(&self) -> bool {
        self.rows.is_none() && !self.text.is_empty()
    }

    fn advance(&mut self, pool: &mut Pool) {
        let (changes, n_changes) = (&self.changes, self.n_changes);
        let go_on = || changes.load(Ordering::Acquire) == n_changes;
        self.rows = match pool.advance(&mut self.place, &self.text, go_on) {
            Ok(rows) => rows.map(|rows| Ok(Arc::new(rows))),
            Err(error) => Some(Err(error.to_string().into())),
        };
    }
}

struct Worker {
    pool: Pool,
    steering: Steering,
    stages: BTreeMap<Id, State>,
}

/// Serves until nobody can send any more.
pub fn run(pool: Pool, messages: &Receiver<Message>) {
    let steering = pool.steering().clone();
    let mut worker = Worker { pool, steering, stages: BTreeMap::new() };
    loop {
        let due = worker.stages.values_mut().find(|state| state.is_due());
        let message = match due {
            None => messages.recv().map_err(|_| TryRecvError::Disconnected),
            Some(_) => messages.try_recv(),
        };
        match (message, due) {
            (Ok(message), _) => worker.handle(message),
            (Err(TryRecvError::Empty), Some(state)) => state.advance(&mut worker.pool),
            (Err(_), _) => return,
        }
    }
}

impl Worker {
    fn handle(&mut self, message: Message) {
        let Self { pool, steering, stages } = self;
        match message {
            Message::Open { stage, changes } => {
                stages.insert(stage, State::new(steering, changes));
            }
            Message::Close { stage } => {
                if let Some(place) = stages.remove(&stage).and_then(|state| state.place) {
                    pool.give_back(place);
                }
            }
            Message::Feed { stage, side, tokens } => {
                if let Some(state) = stages.get_mut(&stage) {
                    steering.feed(&mut state.text, side, &tokens);
                    state.changed();
                }
            }
            Message::Accept { stage, token } => {
                if let Some(state) = stages.get_mut(&stage) {
                    steering.push(&mut state.text, token);
                    state.rows = None;
                }
            }
            Message::RollBack { stage, n } => {
                if let Some(state) = stages.get_mut(&stage) {
                    steering.roll_back(&mut state.text, n);
                    state.changed();
                }
            }
            Message::Reset { stage } => {
                if let Some(state) = stages.get_mut(&stage) {
                    // The next text takes the place that suits it best.
                    state.place.take().into_iter().for_each(|place| pool.give_back(place));
                    state.text = steering.begin();
                    state.changed();
                }
            }
            Message::Copy { from, stage, changes } => {
                let mut copy = State::new(steering, changes);
                if let Some(origin) = stages.get_mut(&from) {
                    // Once for both.
                    if origin.is_due() {
                        origin.advance(pool);
                    }
                    copy.text = origin.text.clone();
                    copy.place = origin.place.as_ref().and_then(|place| pool.copy(place).ok());
                    copy.rows.clone_from(&origin.rows);
                }
                stages.insert(stage, copy);
            }
            Message::Rows { stage, reply } => {
                let Some(state) = stages.get_mut(&stage) else { return };
                if state.rows.is_none() {
                    state.advance(pool);
                }
                if let Some(answer) = &state.rows {
                    // Nobody waits for a host that has gone.
                    let _ = reply.send(answer.clone());
                }
            }
        }
    }
}
