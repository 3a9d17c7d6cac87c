//! Parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    proxytune::cli::main(std::env::args_os())
}
