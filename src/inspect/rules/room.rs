//! Whether there is room: for a text in its context, and for the models in memory.

use super::Findings;
use crate::arithmetic::units;
use crate::inspect::finding::Level;
use crate::inspect::memory::{CPU, Device};
use crate::inspect::model::{File, Model};
use crate::llama::context::ContextParams;
use crate::recipe::rope::Rope;
use crate::steer::Plan;

impl Findings {
    pub(super) fn context(&mut self, plan: &Plan, models: &[Model]) {
        const TOPIC: &str = "context";
        let trained = |model: &Model| model.file.as_ref().ok().map(File::n_ctx_train);
        let Some(base) = models.first().and_then(trained) else { return };
        for model in models {
            let Some(n) = trained(model) else { continue };
            let context =
                plan.sources().find(|(_, source)| source.path == model.path).map(|(_, source)| &source.context);
            let Some(ContextParams { n_ctx, rope, .. }) = context else { continue };
            // Whoever stretches positions knows how far.
            if *n_ctx > n && *rope == Rope::default() {
                let text = format!("a context of {n_ctx} tokens is longer than the {n} it was trained on");
                let advice = "give a shorter one with -c, or stretch it with --rope-scaling and --rope-scale";
                self.tell(Level::Warning, TOPIC, Some(model.role), text, advice);
            } else if n < base {
                let text = format!("it was trained on {n} tokens, the base on {base}: the shortest bounds all");
                self.add(Level::Note, TOPIC, Some(model.role), text);
            }
        }
    }

    /// `is_complete`: every file's need is known.
    pub(super) fn memory(&mut self, devices: &[Device], plan: &Plan, is_complete: bool) {
        const TOPIC: &str = "memory";
        for device in devices {
            let (needed, Device { name, free, total, .. }) = (device.needed(), device);
            if *total == 0 {
                continue;
            }
            let text = |have: u64, word: &str| {
                format!("{name} has {} {word}, {} are needed", units::bytes(have), units::bytes(needed))
            };
            let copies = device.mapped > 0 && device.weights > device.mapped;
            let advice = match (name == CPU, copies && plan.sources().any(|(_, source)| source.model.repack)) {
                (true, true) => format!(
                    "--no-repack needs {} less and is slower; a smaller context (-c), a smaller cache type (-ctk, -ctv) \
                     or smaller files need less too",
                    units::bytes(device.weights - device.mapped)
                ),
                (true, false) => {
                    "a smaller context (-c), a smaller cache type (-ctk, -ctv) or smaller files need less".to_owned()
                }
                (false, _) => "move fewer layers there (-ngl), or take a smaller context (-c)".to_owned(),
            };
            // Mapped weights need not all be there at once.
            if needed - device.mapped > *total {
                self.tell(Level::Refused, TOPIC, None, text(*total, "in all"), &advice);
            } else if needed > *free {
                self.tell(Level::Warning, TOPIC, None, text(*free, "available"), &advice);
            } else if is_complete {
                self.ok(TOPIC, None, text(*free, "available"));
            }
        }
    }
}
