//! What a file says of itself, and what llama.cpp makes of it.

use super::Findings;
use crate::gguf::Header;
use crate::inspect::finding::Level;
use crate::inspect::model::Model;
use crate::inspect::probe::Probed;
use crate::llama::context::FlashAttention;
use crate::llama::invariance::{self, Difference, Invariance};
use crate::llama::kernels::{self, Isa, Kernels};
use crate::llama::overrides::CPU;
use crate::recipe::placement::CacheType;
use crate::steer::{ModelSource, Role};

impl Findings {
    /// The gate, then llama.cpp. `source`: how the plan runs it.
    pub(super) fn file(&mut self, model: &Model, source: Option<&ModelSource>) {
        let kernels = source.map_or(Kernels::default(), |source| source.model.kernels);
        let is_deterministic = source.is_some_and(is_deterministic);
        let role = Some(model.role);
        let file = match &model.file {
            Ok(file) => file,
            Err(error) => {
                let advice = error.hint().map(str::to_owned);
                self.add(Level::Refused, "file", role, error.to_string()).advice = advice;
                return;
            }
        };
        if file.header.tensors().is_empty() {
            self.tell(
                Level::Refused,
                "weights",
                role,
                "the file holds a vocabulary and no weights",
                "name the file of the whole model",
            );
            return;
        }
        let layers = model.report().and_then(|report| Some(report.layout.as_ref().ok()?.layers.as_slice()));
        self.ok("kernels", role, whose_with_devices(&file.header, kernels, layers.unwrap_or_default()));
        let dependent = invariance::dependent(&file.header, kernels);
        let first = model.probed.as_ref().map(|probed| (model.role, probed));
        let others = model.with_other_adapters.iter().map(|(role, probed)| (*role, probed));
        for (role, probed) in first.into_iter().chain(others) {
            self.probed(role, probed, is_deterministic, &dependent);
        }
    }

    /// What llama.cpp makes of a file, with the adapters of a role. The rest as for [`Self::batch`].
    fn probed(&mut self, of: Role, probed: &Result<Probed, String>, is_deterministic: bool, dependent: &[&str]) {
        let role = Some(of);
        let report = match probed {
            Err(reason) => {
                self.tell(Level::Refused, "load", role, reason, "-v shows all that llama.cpp says");
                return;
            }
            Ok(report) => report,
        };
        let refusal = report.vocabulary.as_ref().err().or(report.layout.as_ref().err());
        match (refusal, &report.decoded) {
            (Some(reason), _) => {
                let text = format!("llama.cpp cannot use this file: {reason}");
                self.tell(Level::Refused, "load", role, text, "-v shows all that llama.cpp says");
            }
            (None, Some(Err(reason))) => {
                let text = format!("the weights are damaged: {reason}");
                self.tell(Level::Refused, "weights", role, text, "download or convert the file again");
            }
            (None, Some(Ok(invariance))) => {
                self.ok("weights", role, "all weights are finite, and a token was decoded");
                self.batch(of, invariance, is_deterministic, dependent);
            }
            (None, None) => self.ok("file", role, "well-formed, and llama.cpp can lay it out"),
        }
    }

    /// What drafts, which are decoded several at once, do to a text. `dependent`: types of its matrices that are known to
    /// round otherwise then.
    fn batch(&mut self, role: Role, invariance: &Invariance, is_deterministic: bool, dependent: &[&str]) {
        const TOPIC: &str = "batch";
        let Invariance { n_kv, widths, difference } = invariance;
        let behind: Vec<_> = n_kv.iter().map(usize::to_string).collect();
        let behind = behind.join(" and ");
        match (difference, widths.last()) {
            (None, Some(most)) => {
                let text = format!(
                    "up to {most} tokens at once get the logits that each gets by itself, bit by bit, behind {behind} \
                     tokens: drafts do not change the text"
                );
                self.ok(TOPIC, Some(role), text);
            }
            (Some(Difference { n_kv, width, row, max }), _) => {
                let text = format!(
                    "{width} tokens at once get other logits than each by itself, behind {n_kv} tokens and from row {row} \
                     on (looked at behind {behind}; by up to {max:.1e}): with other drafts the same seed may give another \
                     text"
                );
                let advice = match (is_deterministic, dependent) {
                    (false, []) => "with --deterministic it would be the same with any drafts",
                    (true, []) => "--draft off writes the same text on every run",
                    _ => {
                        "--draft off, which --deterministic takes for these weights, writes the same text on every run"
                    }
                };
                self.tell(Level::Note, TOPIC, Some(role), text, advice);
            }
            (None, None) => {
                let text = "the context is too small to see whether logits depend on how tokens are batched";
                self.add(Level::Note, TOPIC, Some(role), text);
            }
        }
    }
}

/// Whose matrix products a file is computed with, by the device of each of its layers.
fn whose_with_devices(header: &Header, kernels: Kernels, layers: &[String]) -> String {
    let n_elsewhere = layers.iter().filter(|device| *device != CPU).count();
    match n_elsewhere {
        0 => whose(header, kernels),
        n if n == layers.len() => "the device's".to_owned(),
        n => format!("{}; the device's for {n} of {} layers", whose(header, kernels), layers.len()),
    }
}

/// The same in main memory, and why.
fn whose(header: &Header, kernels: Kernels) -> String {
    let unknown: Vec<_> = header.matrix_types().into_iter().filter(|kind| !kernels::knows(kind)).collect();
    let why = match (kernels.isa(header), kernels) {
        (Some(isa), _) => return format!("proxytune's own, with {}", isa.name()),
        (None, Kernels::Off) => "as --kernels off asks for".to_owned(),
        (None, _) if !unknown.is_empty() => format!("proxytune's do not know {}", unknown.join(", ")),
        (None, _) if header.has_experts() => "it is a mixture of experts".to_owned(),
        (None, _) if Isa::best().is_none() => "this CPU lacks AVX2".to_owned(),
        (None, _) => "proxytune's do not fit this build of it".to_owned(),
    };
    format!("llama.cpp's: {why}")
}

/// As `--deterministic` places a model.
fn is_deterministic(source: &ModelSource) -> bool {
    let context = &source.context;
    let is_on_cpu = source.model.n_gpu_layers == Some(0);
    is_on_cpu
        && context.flash_attention == FlashAttention::On
        && [context.cache_type_k, context.cache_type_v] == [CacheType::Q8_0; 2]
}
