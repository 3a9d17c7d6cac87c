//! The pair's own thread: it keeps every stage's text and reads it as soon as it changes.
//!
//! Messages of a stage are taken in the order in which they were sent. While there are any, texts only change; then one
//! step reads what all of them lack, in one batch for each model.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use proxytune::llama::Token;
use proxytune::llama::context::Outputs;
use proxytune::steer::{Ensemble, Error, Idle, Rows, Sampled, Sequence, Side, Topology, Work};

use crate::text::StageText;

/// Which stage.
pub type Id = usize;

/// The rows behind a text, or why there are none.
pub type Answer = Result<Arc<Rows>, Arc<str>>;

/// Most tokens that each other stage brings to a step while one is waited for.
const N_BESIDE: usize = 64;

pub enum Message {
    Open {
        stage: Id,
    },
    /// Ends a stage.
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
    },
    Rows {
        stage: Id,
        reply: Sender<Answer>,
    },
}

/// A stage's text, and how far it is read.
struct Stage {
    text: StageText,
    sequence: Option<Sequence>,
    /// `None` while there is something to read.
    rows: Option<Answer>,
    waiting: Option<Sender<Answer>>,
}

impl Stage {
    fn new(topology: &Topology) -> Self {
        Self { text: StageText::new(topology), sequence: None, rows: None, waiting: None }
    }

    /// Its rows are known; whoever waits for them hears of it.
    fn answer(&mut self, answer: Answer) {
        if let Some(reply) = self.waiting.take() {
            // Nobody waits for a host that has gone.
            let _ = reply.send(answer.clone());
        }
        self.rows = Some(answer);
    }
}

struct Worker {
    ensemble: Ensemble,
    topology: Arc<Topology>,
    stages: BTreeMap<Id, Stage>,
    /// Sequences of stages that are gone, with what they hold.
    idle: Idle,
}

/// Serves until nobody can send any more.
pub fn run(ensemble: Ensemble, messages: &Receiver<Message>) {
    let topology = ensemble.topology().clone();
    let mut worker = Worker { ensemble, topology, stages: BTreeMap::new(), idle: Idle::default() };
    loop {
        let due = worker.due();
        let message =
            if due.is_empty() { messages.recv().map_err(|_| TryRecvError::Disconnected) } else { messages.try_recv() };
        match message {
            Ok(message) => worker.handle(message),
            Err(TryRecvError::Empty) => worker.read(&due),
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

impl Worker {
    /// Stages whose text is to be read; those whose text cannot be are answered.
    fn due(&mut self) -> Vec<Id> {
        let mut due = Vec::new();
        for (&id, stage) in self.stages.iter_mut().filter(|(_, stage)| stage.rows.is_none()) {
            match stage.text.check(&self.topology) {
                Ok(true) => due.push(id),
                Ok(false) if stage.waiting.is_some() => {
                    let role = self.topology.lanes().first().map(|lane| lane.role);
                    let reason = role.map_or_else(String::new, |role| Error::NothingFed { role }.to_string());
                    stage.answer(Err(reason.into()));
                }
                Ok(false) => {}
                Err(reason) => stage.answer(Err(reason.into())),
            }
        }
        due
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Open { stage } => drop(self.stages.insert(stage, Stage::new(&self.topology))),
            Message::Close { stage } => {
                if let Some(sequence) = self.stages.remove(&stage).and_then(|stage| stage.sequence) {
                    self.idle.rest(sequence);
                }
            }
            Message::Feed { stage, side, tokens } => {
                self.change(stage, |text, topology| text.feed(topology, side, &tokens));
            }
            Message::Accept { stage, token } => self.change(stage, |text, topology| text.push(topology, token)),
            Message::RollBack { stage, n } => self.change(stage, |text, _| text.roll_back(n)),
            Message::Reset { stage } => {
                self.change(stage, |text, topology| *text = StageText::new(topology));
                // The next text takes the sequence that suits it best.
                if let Some(sequence) = self.stages.get_mut(&stage).and_then(|stage| stage.sequence.take()) {
                    self.idle.rest(sequence);
                }
            }
            Message::Copy { from, stage } => self.copy(from, stage),
            Message::Rows { stage, reply } => {
                let Some(stage) = self.stages.get_mut(&stage) else { return };
                match &stage.rows {
                    Some(answer) => drop(reply.send(answer.clone())),
                    None => stage.waiting = Some(reply),
                }
            }
        }
    }

    fn change(&mut self, stage: Id, change: impl FnOnce(&mut StageText, &Topology)) {
        if let Some(stage) = self.stages.get_mut(&stage) {
            change(&mut stage.text, &self.topology);
            stage.rows = None;
        }
    }

    fn copy(&mut self, from: Id, stage: Id) {
        // Once for both.
        while self.due().contains(&from) {
            self.read(&[from]);
        }
        let mut copy = Stage::new(&self.topology);
        if let Some(origin) = self.stages.get(&from) {
            copy.text = origin.text.clone();
            copy.rows.clone_from(&origin.rows);
            if let Some(sequence) = &origin.sequence {
                if !self.ensemble.has_free() {
                    self.idle.forget_one(&mut self.ensemble);
                }
                // Without a sequence the copy reads its text by itself.
                copy.sequence = self.ensemble.fork(sequence).ok();
            }
        }
        self.stages.insert(stage, copy);
    }

    /// One step: those that are waited for first, the others beside them.
    fn read(&mut self, due: &[Id]) {
        let Self { ensemble, stages, idle, .. } = self;
        for id in due {
            if let Some(stage) = stages.get_mut(id)
                && let Err(error) = want(ensemble, idle, stage)
            {
                stage.answer(Err(error.to_string().into()));
            }
        }
        let mut reading: Vec<&mut Stage> = stages
            .iter_mut()
            .filter(|(id, stage)| due.contains(id) && stage.rows.is_none())
            .map(|(_, stage)| stage)
            .collect();
        reading.sort_by_key(|stage| stage.waiting.is_none());
        let is_waited_for = reading.first().is_some_and(|stage| stage.waiting.is_some());
        let mut n_left = ensemble.n_batch();
        let mut works = Vec::new();
        let mut n_all = 0;
        for stage in &mut reading {
            let n_most = if is_waited_for && stage.waiting.is_none() { n_left.min(N_BESIDE) } else { n_left };
            let Some(sequence) = &mut stage.sequence else { continue };
            let n_tokens = sequence.n_missing().min(n_most);
            n_left -= n_tokens;
            n_all += n_tokens;
            works.push(Work { sequence, n_tokens, outputs: Outputs::Last, ahead: None });
        }
        idle.make_room(ensemble, n_all);
        let results = ensemble.step(&mut works);
        for (stage, result) in reading.into_iter().zip(results) {
            let Some(sequence) = &stage.sequence else { continue };
            let rows = match result {
                Ok(()) if sequence.n_missing() > 0 => continue,
                Ok(()) => ensemble.copy_rows(sequence),
                Err(error) => {
                    // Others may need the room that it takes.
                    if let Some(sequence) = stage.sequence.take() {
                        idle.rest(sequence);
                    }
                    Err(error)
                }
            };
            let position = stage.text.n_generated();
            let rows = rows.map(|rows| Arc::new(Rows { position, ..rows }));
            stage.answer(rows.map_err(|error| error.to_string().into()));
        }
    }
}

/// A stage's sequence wants its text. A text without a sequence gets one.
fn want(ensemble: &mut Ensemble, idle: &mut Idle, stage: &mut Stage) -> Result<(), Error> {
    let prompts = stage.text.prompts();
    let mut sequence = match stage.sequence.take() {
        Some(sequence) => sequence,
        None => idle.sequence_for(ensemble, prompts)?,
    };
    // The row behind its last token may be gone.
    let is_being_read = sequence.wants(prompts) && sequence.n_missing() > 0;
    let done = if is_being_read { Ok(()) } else { ensemble.begin(&mut sequence, Sampled::Steered, prompts) };
    stage.sequence = Some(sequence);
    done
}
