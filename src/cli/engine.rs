//! The engine of a server, in a process of its own: the program runs itself with a hidden command.

use anyhow::Result;

use super::Done;
use crate::engine::process;

/// Serves whoever started this process, until that closes stdin.
pub fn run() -> Result<Done> {
    process::serve(std::io::stdin(), std::io::stdout())?;
    Ok(Done::Fine)
}
