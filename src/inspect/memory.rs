//! What a plan takes on every device, and what there is.

use super::main_memory::{MainMemory, main_memory};
use super::model::{File, Model};
use super::weights::{self, Placed};
use crate::llama::backend::Backend;
use crate::llama::device;
pub use crate::llama::overrides::CPU;
use crate::llama::probe::Layout;
use crate::steer::ModelSource;

/// What llama.cpp keeps in main memory for each token of a vocabulary: its text and kind, maps from texts and merges.
/// Measured: 266 bytes (Gemma 3, 262,144 tokens without merges) to 320 (Qwen 2.5, 151,936 with).
const TOKEN_BYTES: u64 = 300;

/// A device that a plan uses, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    pub name: String,
    pub weights: u64,
    /// The weights that are pages of the files: they need not all be in memory at once.
    pub mapped: u64,
    pub kv: u64,
    pub compute: u64,
    /// What can be had now.
    pub free: u64,
    pub total: u64,
}

impl Device {
    /// All that is put there.
    #[must_use]
    pub fn needed(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.compute)
    }
}

/// What one file takes, in bytes, all its lanes and all devices together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    pub weights: u64,
    /// `None` where neither the header nor llama.cpp tells.
    pub kv: Option<u64>,
    /// With the vocabulary and the rows of logits. `None` where llama.cpp could not lay it out.
    pub compute: Option<u64>,
}

/// Weights by the header and where llama.cpp puts them, computing by llama.cpp beside what it does not count; the cache by llama.cpp too, or where it
/// could not, by the header.
#[must_use]
pub fn need(model: &Model, source: &ModelSource) -> Option<Need> {
    let file = model.file.as_ref().ok()?;
    let layout = layout(model);
    let nowhere = Layout::default();
    let weights = weights::place(file, source, layout.unwrap_or(&nowhere));
    let weights = weights.iter().map(|placed| placed.n_bytes).fold(0, u64::saturating_add);
    let times = |bytes: u64, n: usize| bytes.saturating_mul(n as u64);
    let kv = layout.map(|layout| layout.kv_bytes).or_else(|| file.kv_bytes(&source.context));
    let compute = layout.map(|layout| layout.compute.iter().map(|(_, bytes)| bytes).sum());
    let kv = kv.map(|bytes| times(bytes, model.n_lanes));
    let compute = compute.map(|bytes| times(bytes, model.n_contexts).saturating_add(uncounted(model, file, source)));
    Some(Need { weights, kv, compute })
}

/// Main memory for the vocabulary, and for the rows that each context puts out.
fn uncounted(model: &Model, file: &File, source: &ModelSource) -> u64 {
    let n_vocab = file.vocabulary.len() as u64;
    let n_rows = (source.context.n_outputs_max * model.n_contexts) as u64;
    n_vocab.saturating_mul(TOKEN_BYTES.saturating_add(n_rows.saturating_mul(size_of::<f32>() as u64)))
}

fn layout(model: &Model) -> Option<&Layout> {
    model.report()?.layout.as_ref().ok()
}

/// Bytes of memory of all devices.
pub(super) fn everywhere(backend: &Backend) -> u64 {
    device::offload(backend).iter().map(|device| device.memory_total as u64).sum::<u64>() + main_memory().total
}

/// The devices that the models use, main memory first. Each file is loaded once.
#[must_use]
pub fn devices<'a>(backend: &Backend, models: impl Iterator<Item = (&'a Model, &'a ModelSource)>) -> Vec<Device> {
    let MainMemory { total, available: free } = main_memory();
    let mut devices = vec![Device { name: CPU.to_owned(), free, total, ..Device::default() }];
    for device in device::offload(backend) {
        let (free, total) = (device.memory_free as u64, device.memory_total as u64);
        devices.push(Device { name: device.name, free, total, ..Device::default() });
    }
    for (model, source) in models {
        let (Ok(file), Some(need)) = (&model.file, need(model, source)) else { continue };
        let nowhere = Layout::default();
        let layout = layout(model).unwrap_or(&nowhere);
        let find = |name: &str| devices.iter().rposition(|device| name.starts_with(&device.name)).unwrap_or(0);
        let layers: Vec<usize> = layout.layers.iter().map(|name| find(name)).collect();
        let compute = layout.compute.iter().map(|(buffer, bytes)| {
            let n = model.n_contexts as u64;
            (place_of(buffer, find), bytes.saturating_mul(n))
        });
        let compute: Vec<_> = compute.collect();
        let placed = weights::place(file, source, layout);
        let placed: Vec<_> = placed.into_iter().map(|placed| (place_of(&placed.buffer, find), placed)).collect();
        for (place, Placed { n_bytes, is_mapped, .. }) in placed {
            let device = &mut devices[place];
            device.weights = device.weights.saturating_add(n_bytes);
            device.mapped = device.mapped.saturating_add(if is_mapped { n_bytes } else { 0 });
        }
        let kv = need.kv.unwrap_or(0);
        // The output, which is listed last, has no cache.
        match layers.split_last() {
            Some((_, layers)) if source.context.offload_kqv && !layers.is_empty() => {
                for &place in layers {
                    devices[place].kv += kv / layers.len() as u64;
                }
            }
            _ => devices[0].kv += kv,
        }
        for (place, bytes) in compute {
            devices[place].compute += bytes;
        }
        if need.compute.is_some() {
            devices[0].compute += uncounted(model, file, source);
        }
    }
    devices.retain(|device| device.name == CPU || device.needed() > 0);
    devices
}

/// Buffers in main memory that a device reads are called after it too.
fn place_of(buffer: &str, find: impl Fn(&str) -> usize) -> usize {
    if buffer.ends_with("_Host") { 0 } else { find(buffer) }
}
