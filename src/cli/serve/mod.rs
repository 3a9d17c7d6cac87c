//! `proxytune serve`: recipes behind HTTP.

mod args;
mod files;
mod listen;
mod recipes;
mod settings;

use anyhow::Result;

pub use self::args::ServerArgs;
use super::Done;
use super::args::Serve;
use crate::server::Catalog;

pub fn run(args: &Serve) -> Result<Done> {
    let settings = settings::of(&args.server)?;
    let (served, setup) = recipes::of(args, settings.n_slots)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(listen::listen(&args.server, settings, Catalog::new(served), setup));
    // What still runs beside is not waited for.
    runtime.shutdown_background();
    result
}
