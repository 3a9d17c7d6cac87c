//! `--fit`: as many layers on devices as fit.

use clap::{Args as ClapArgs, ValueEnum};

use super::terminal::say;
use super::{interrupt, probe, progress};
use crate::inspect::fit::{Fitted, fit};
use crate::inspect::probe::{Probed, Request};
use crate::inspect::{Inspection, check};
use crate::llama::backend::Backend;
use crate::llama::device;
use crate::steer::{ModelSource, Plan};

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Devices")]
pub struct FitArgs {
    /// -fit: where a device has too little memory for all layers, leave some in main memory, the base's first; layers that a
    /// number is given for stay as given
    #[arg(long, value_name = "on|off", default_value = "on", value_enum)]
    pub fit: OnOff,
    /// -fitt: memory that --fit leaves free on every device, in MiB
    #[arg(long, value_name = "MiB", default_value_t = 1024, allow_negative_numbers = true)]
    pub fit_target: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    On,
    Off,
}

impl FitArgs {
    /// Bytes to leave free, where layers are fitted at all.
    pub fn margin(&self) -> Option<u64> {
        (self.fit == OnOff::On).then(|| u64::from(self.fit_target) << 20)
    }
}

/// Leaves layers of a plan in main memory where devices have too little, and tells which. Without devices nothing is done.
pub fn apply(plan: &mut Plan, margin: Option<u64>, backend: &Backend, rpc: &[String]) -> Vec<Fitted> {
    let Some(margin) = margin.filter(|_| !device::offload(backend).is_empty()) else { return Vec::new() };
    // Whoever loads the plan reports the error.
    if plan.check().is_err() {
        return Vec::new();
    }
    let n_ctx = plan.sources().next().map_or(1, |(_, source)| source.context.n_ctx);
    let sequences = plan.texts.sequences(1);
    let bar = progress::spinner();
    bar.set_message("looking how many layers fit");
    // From one plan to the next one model's layers change.
    let mut known: Vec<(ModelSource, Result<Probed, String>)> = Vec::new();
    let mut inspect = |plan: &Plan| -> Inspection {
        check(backend, plan, |_| n_ctx, &mut |_, source| {
            if let Some((_, answer)) = known.iter().find(|(of, _)| of == source) {
                return answer.clone();
            }
            if interrupt::stopped() {
                return Err("interrupted".to_owned());
            }
            let request = Request { source: source.clone(), sequences, rpc: rpc.to_vec(), deep: false };
            let answer = probe::ask(&request, false);
            known.push((source.clone(), answer.clone()));
            answer
        })
    };
    let fitted = fit(plan, margin, &mut inspect);
    bar.finish_and_clear();
    fitted
}

/// The same, told as notes.
pub fn apply_and_tell(plan: &mut Plan, margin: Option<u64>, backend: &Backend, rpc: &[String]) {
    for fitted in apply(plan, margin, backend, rpc) {
        say!("note: {}: {fitted}", fitted.role);
    }
}
