//! llama.cpp in a process of its own: the program runs itself with a hidden command.

use anyhow::Result;

use super::terminal::say;
use super::{Done, interrupt};
use crate::inspect::probe::{self, Ended, Probed, Prober, Request};
use crate::steer::{Facts, Plan};

/// What a child answers.
pub fn run(request: &str) -> Result<Done> {
    probe::serve(request)?;
    Ok(Done::Fine)
}

/// Refuses a plan with a file that llama.cpp does not survive. Where no child can be started, a note says so and the
/// plan goes on.
pub fn admit(plan: &Plan, facts: &Facts, rpc: &[String]) -> Result<()> {
    let note =
        |ended: &Ended| say!("note: {ended}; the files are loaded without, and a damaged one may end this process");
    match this_program(false) {
        Err(error) => note(&error.into()),
        Ok(prober) => match prober.with_rpc(rpc).admit(plan, facts, &interrupt::stopped) {
            Err(refused) if matches!(refused.ended, Ended::NotAsked(_)) => note(&refused.ended),
            admitted => admitted?,
        },
    }
    Ok(())
}

/// Asks about one file; the error says how the child ended, if it gave no report.
pub fn ask(request: &Request, verbose: bool) -> Result<Probed, String> {
    let prober = this_program(verbose).map_err(|error| Ended::from(error).to_string())?;
    let answer = prober.ask(request, &interrupt::stopped);
    if verbose {
        say!("{}", answer.log.trim_end());
    }
    answer.probed.map_err(|ended| ended.to_string())
}

fn this_program(verbose: bool) -> std::io::Result<Prober> {
    let verbose = verbose.then(|| "--verbose".into());
    Ok(Prober::new(std::env::current_exe()?, std::iter::once(probe::COMMAND.into()).chain(verbose)))
}
