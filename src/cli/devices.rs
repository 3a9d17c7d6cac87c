//! `proxytune devices`

use std::io::Write;

use anyhow::Result;

use super::Done;
use super::terminal::shown;
use crate::llama::{backend, device};

pub fn run() -> Result<Done> {
    let mut out = std::io::stdout().lock();
    let backend = backend::shared()?;
    for device in device::list(&backend) {
        let gib = |bytes: usize| bytes as f64 / (1_u64 << 30) as f64;
        let (free, total) = (gib(device.memory_free), gib(device.memory_total));
        let line = format!("{}\t{}\t{free:.1} of {total:.1} GiB free", device.name, device.description);
        writeln!(out, "{}", shown(&line))?;
    }
    Ok(Done::Fine)
}
