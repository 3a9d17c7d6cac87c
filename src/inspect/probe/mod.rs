//! What only llama.cpp knows about a file, asked in a process that it may end.
//!
//! ```text
//! Prober::admit(plan) ─ for each context, unless remembered ─► child: proxytune @@ REQUEST          
//!         │                                                        │   lays the model out without its weights
//!         ▼                                                        ▼
//! nothing, or Refused { role, path, … } ◄────── it answered, or how it ended ──── Probed on stdout
//! ```
//!
//! A child that answers has survived, whatever it answers: an error that llama.cpp returns is found again, with its
//! words, when the model is loaded. A program that answers is `proxytune`, or any that calls [`serve`].

mod child;
mod verdicts;

use std::io::Write;

use serde::{Deserialize, Serialize};

pub use self::child::{Answer, Ended, Prober, Refused};
use crate::llama::backend::{self, Backend};
use crate::llama::context::Sequences;
use crate::llama::invariance::Invariance;
use crate::llama::probe::{self, Layout, Vocabulary};
use crate::llama::{Error, abort, leave, rpc};
use crate::steer::ModelSource;

/// The hidden command under which `proxytune` calls [`serve`]. Without letters, so that no word that somebody mistypes is
/// taken for it.
pub const COMMAND: &str = "@@";

/// Everything that a process needs to know to answer with a [`Probed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub source: ModelSource,
    pub sequences: Sequences,
    /// Servers whose devices the source may name.
    pub rpc: Vec<String>,
    /// Load the weights and decode.
    pub deep: bool,
}

/// llama.cpp's answers, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    pub vocabulary: Result<Vocabulary, String>,
    pub layout: Result<Layout, String>,
    /// `None` where it was not asked for, or where the layout failed already.
    pub decoded: Option<Result<Invariance, String>>,
}

/// Asks the llama.cpp of this process.
#[must_use]
pub fn run(backend: &Backend, request: &Request) -> Probed {
    let Request { source, sequences, rpc, deep } = request;
    let words = |error: Error| match error {
        Error::Load { reason, .. } | Error::Context { reason, .. } => reason,
        error => error.to_string(),
    };
    let servers = rpc::add_servers(backend, rpc);
    let layout =
        servers.and_then(|()| probe::layout(backend, &source.path, &source.model, &source.context, *sequences));
    let decode = || probe::decode(backend, &source.path, &source.adapters, &source.model, &source.context);
    let decoded = (*deep && layout.is_ok()).then(|| decode().map_err(words));
    let (vocabulary, layout) = match layout {
        Ok((vocabulary, layout)) => (Ok(vocabulary), Ok(layout)),
        Err(error) => (probe::vocabulary(backend, &source.path).map_err(words), Err(words(error))),
    };
    Probed { vocabulary, layout, decoded }
}

/// Answers one request as a child does: `request` is the last argument that the program was given, and the answer is one
/// line on stdout. Ends the process when stdin is closed: nobody waits for the answer then.
pub fn serve(request: &str) -> std::io::Result<()> {
    let request: Request = serde_json::from_str(request)?;
    std::thread::Builder::new().spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(1);
    })?;
    abort::on_abort(last_words);
    let backend = backend::shared().map_err(std::io::Error::other)?;
    answer(&run(&backend, &request))
}

fn answer(probed: &Probed) -> std::io::Result<()> {
    let answer = serde_json::to_string(probed)?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n{answer}")?;
    stdout.flush()
}

/// A server that was lost is no fault of the file. What else makes llama.cpp give up is, and ends the process as if nobody
/// had been asked.
fn last_words(error: &Error) {
    if let Error::GaveUp { reason } = error {
        let _ = writeln!(std::io::stderr(), "{reason}");
        std::process::abort();
    }
    let lost = error.to_string();
    let probed = Probed { vocabulary: Err(lost.clone()), layout: Err(lost), decoded: None };
    leave::leave(i32::from(answer(&probed).is_err()));
}
