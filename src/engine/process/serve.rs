//! The child's side: lines become calls of an engine on a thread of this process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use serde_json::Value;

use super::frame::{Beat, Frame, Unread, read};
use super::output::Output;
use super::setup::{Planned, Setup};
use crate::contained::contained;
use crate::engine::health::Health;
use crate::engine::thread::Thread;
use crate::engine::{Engine, Id, Settings};
use crate::generate::event::{Event, Failed, Failure, Kind};
use crate::llama::leave::leave;
use crate::llama::{abort, backend, log, rpc};
use crate::steer::{Loaded, Models, Role};

/// A beat comes at least so often.
const BEAT: Duration = Duration::from_millis(250);

/// Serves as the engine of the parent process: takes a [`Setup`] and commands from stdin, a line each, and answers on stdout.
/// Ends the process when stdin is closed, whatever runs, and when the set-up cannot be loaded.
pub fn serve(stdin: impl Read, stdout: impl Write + Send + 'static) -> io::Result<()> {
    // A core file with all weights in it takes minutes, in which the parent would hear nothing of an end.
    let _ = std::fs::write("/proc/self/coredump_filter", "0");
    let mut stdin = BufReader::new(stdin);
    let output = Output::spawn(stdout)?;
    let mut line = Vec::new();
    if stdin.read_until(b'\n', &mut line)? == 0 {
        return Ok(());
    }
    let setup: Setup = match serde_json::from_slice(&line) {
        Ok(setup) => setup,
        Err(error) => refuse(internal(format!("the set-up cannot be read: {error}")), &output),
    };
    log::capture(setup.verbose);
    abort::on_abort({
        let output = output.clone();
        move |error| {
            output.send(Frame::GaveUp(error.to_string()));
            output.end(1);
        }
    });
    let engine = Arc::new(OnceLock::new());
    let pulse = pulse(engine.clone(), output.clone())?;
    let (questions, inbox) = unbounded();
    let run = {
        let (engine, output) = (engine.clone(), output.clone());
        move || match contained(|| start(&setup, &output, pulse)) {
            Ok(Ok(thread)) => {
                let about = Frame::Ready(thread.desk().about());
                let thread = engine.get_or_init(|| thread);
                // Commands come once this is told.
                output.send(about);
                answer(thread, &inbox, &output);
            }
            Ok(Err(failure)) => refuse(failure, &output),
            Err(reason) => refuse(internal(format!("loading panicked: {reason}")), &output),
        }
    };
    std::thread::Builder::new().name("desk".to_owned()).spawn(run)?;
    let read = obey_all(&mut stdin, &engine, &questions, &output);
    if let Err(error) = &read {
        let _ = writeln!(io::stderr(), "the engine cannot read what it is told: {error}");
    }
    // Nobody is there any more for whom anything could be finished.
    leave(i32::from(read.is_err()))
}

fn refuse(failure: Failure, output: &Output) -> ! {
    output.send(Frame::Failed(failure));
    output.end(1)
}

fn start(setup: &Setup, output: &Output, pulse: Sender<()>) -> Result<Thread, Failure> {
    let engine = load(setup, output)?;
    // One beat that waits is enough.
    let changed = move || {
        let _ = pulse.try_send(());
    };
    Thread::spawn(engine, changed).map_err(|error| internal(format!("it cannot be given a thread: {error}")))
}

fn load(setup: &Setup, output: &Output) -> Result<Engine, Failure> {
    let of_llama = |error: crate::llama::Error| Failure::from(crate::steer::Error::Chain(error));
    let backend = backend::shared().map_err(of_llama)?;
    rpc::add_servers(&backend, &setup.rpc).map_err(of_llama)?;
    let mut told: (String, f32) = Default::default();
    let mut progress = |role: Role, path: &Path, share: f32| {
        /// Of a file.
        const STEP: f32 = 0.01;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let what = format!("{role} {file}");
        if told.0 != what || share >= told.1 + STEP {
            output.send(Frame::Loading { what: what.clone(), share });
            told = (what, share);
        }
        true
    };
    let mut models = Models::default();
    let mut loaded = Vec::new();
    for Planned { plan, lazy } in &setup.plans {
        let facts = plan.check()?;
        loaded.push((Loaded::of(&backend, plan, &facts, &mut models, &mut progress)?, *lazy));
    }
    output.send(Frame::Loading { what: "contexts".to_owned(), share: 0.0 });
    let mut engine: Option<Engine> = None;
    for (loaded, is_lazy) in loaded {
        match &mut engine {
            // The parent looks whether it lives; a watchdog here could only tell that it does not.
            None => engine = Some(Engine::new(loaded.open()?, Settings { watchdog: None, ..setup.settings })),
            Some(engine) if is_lazy => drop(engine.add_lazy(loaded)),
            Some(engine) => drop(engine.add(loaded.open()?)),
        }
    }
    engine.ok_or_else(|| internal("there is nothing to load".to_owned()))
}

fn internal(message: String) -> Failure {
    Failure { kind: Kind::Internal, message, hint: None }
}

/// Answers questions one after the other, so that a long one holds up others and no command.
fn answer(engine: &Thread, questions: &Receiver<(Id, Value)>, output: &Output) {
    for (id, question) in questions {
        output.send(Frame::Reply(id, read(question).and_then(|question| engine.desk().answer(&question))));
    }
}

fn obey_all(
    stdin: &mut impl BufRead,
    engine: &OnceLock<Thread>,
    questions: &Sender<(Id, Value)>,
    output: &Output,
) -> io::Result<()> {
    let mut line = Vec::new();
    while stdin.read_until(b'\n', &mut line)? > 0 {
        obey(serde_json::from_slice(&line)?, engine.get(), questions, output);
        line.clear();
    }
    Ok(())
}

fn obey(command: Unread, engine: Option<&Thread>, questions: &Sender<(Id, Value)>, output: &Output) {
    match (command, engine) {
        (Unread::Submit { id, ensemble, request }, Some(engine)) => {
            let listener = {
                let output = output.clone();
                Box::new(move |event: Event| {
                    output.send(Frame::Event(id, event));
                    true
                })
            };
            let taken = read(request).and_then(|request| engine.submit(id, ensemble, request, listener));
            if let Err(failure) = taken {
                output.send(Frame::Event(id, failed(failure)));
            }
        }
        (Unread::Cancel(id), Some(engine)) => engine.cancel(id),
        (Unread::Steer { id, weights }, Some(engine)) => match read(weights) {
            Ok(weights) => engine.steer(id, weights),
            Err(failure) => {
                output.send(Frame::Event(id, failed(failure)));
                engine.cancel(id);
            }
        },
        (Unread::Ask { id, question }, _) => drop(questions.send((id, question))),
        // The parent knows better than to come before it was told that all is ready.
        (Unread::Submit { id, .. }, None) => {
            output.send(Frame::Event(id, failed(Failure::unavailable("the engine is being loaded"))));
        }
        (Unread::Cancel(_) | Unread::Steer { .. }, None) => {}
    }
}

fn failed(failure: Failure) -> Event {
    Event::Failed(Failed { failure, text: String::new() })
}

/// Beats at intervals, and whenever it is told to.
fn pulse(engine: Arc<OnceLock<Thread>>, output: Output) -> io::Result<Sender<()>> {
    let (beats, inbox) = bounded(1);
    let run = move || {
        loop {
            let health = engine.get().map(Thread::health);
            let has_ended = health.as_ref().is_some_and(|health| health.has_ended);
            output.send(Frame::Beat(health.map_or_else(Beat::default, Beat::from)));
            if has_ended {
                // Its thread panicked: a new process has a new one.
                output.end(101);
            }
            if inbox.recv_timeout(BEAT) == Err(RecvTimeoutError::Disconnected) {
                // Loading has failed, and the process is about to end.
                return;
            }
        }
    };
    std::thread::Builder::new().name("pulse".to_owned()).spawn(run)?;
    Ok(beats)
}

impl From<Health> for Beat {
    fn from(Health { n_running, n_waiting, age, slots, .. }: Health) -> Self {
        Self { n_running, n_waiting, age, slots }
    }
}
