//! `proxytune devices`

use std::io::Write;

use anyhow::Result;

use super::terminal::shown;
use super::{Done, args};
use crate::arithmetic::units;
use crate::inspect::main_memory::{MainMemory, main_memory};
use crate::llama::overrides::CPU;
use crate::llama::{backend, device, rpc};

pub fn run(args: &args::Devices) -> Result<Done> {
    let mut out = std::io::stdout().lock();
    let backend = backend::shared()?;
    rpc::add_servers(&backend, &args.rpc)?;
    for device in device::list(&backend) {
        // llama.cpp calls all of main memory free.
        let memory = if device.name == CPU {
            main_memory()
        } else {
            MainMemory { total: device.memory_total as u64, available: device.memory_free as u64 }
        };
        let [available, total] = [memory.available, memory.total].map(units::bytes);
        let line = format!("{}\t{}\t{available} available of {total}", device.name, device.description);
        writeln!(out, "{}", shown(&line))?;
    }
    Ok(Done::Fine)
}
