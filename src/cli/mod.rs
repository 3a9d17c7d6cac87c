//! The command line: what was typed → what is meant → one file a command.
//!
//! stdout is data, stderr is talk. Exit codes: 0 fine, 1 failed, 2 bad usage, 130 stopped by ctrl-C, 141 when the reader
//! of stdout has gone.

mod alpha;
mod answer;
mod args;
mod bench;
mod calibrate;
mod chat;
mod check;
mod compare;
mod deterministic;
mod devices;
mod done;
mod download;
mod draft;
mod engine;
mod eval;
mod fit;
mod generate;
mod hashes;
mod inspect;
mod interrupt;
mod llama_cpp;
mod models;
mod new_file;
mod noise;
mod pace;
mod page;
mod perplexity;
mod probe;
mod progress;
mod recipe;
mod remote;
mod report;
mod resolve;
mod roles;
mod rope;
mod sampling;
mod scoring;
#[cfg(feature = "server")]
mod serve;
mod spelling;
mod terminal;
mod text;
mod there;
mod tools;
mod waiting;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use self::args::{Args, Command};
use self::done::Done;

/// Runs a command line, program name included.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed: Vec<_> = args.into_iter().collect();
    let parsed = match Args::try_parse_from(spelling::long(typed.clone())) {
        Ok(parsed) => parsed,
        Err(error) => return report::usage(&error, &typed),
    };
    if parsed.command.decodes() {
        waiting::spin_briefly(&typed);
    }
    crate::llama::log::capture(parsed.verbose());
    crate::llama::abort::on_abort(report::gave_up);
    let done = match &parsed.command {
        Command::Generate(args) => generate::run(args),
        Command::Chat(args) => chat::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Perplexity(args) => perplexity::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Check(args) => check::run(args),
        #[cfg(feature = "server")]
        Command::Serve(args) => serve::run(args),
        Command::Recipe(command) => recipe::run(command),
        Command::Pull(args) => download::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Probe { request, .. } => probe::run(request),
        Command::Engine => engine::run(),
    };
    match done {
        Ok(Done::Fine) => ExitCode::SUCCESS,
        Ok(Done::Failed) => ExitCode::FAILURE,
        Ok(Done::Interrupted) => ExitCode::from(130),
        Err(error) => report::failure(&error),
    }
}
