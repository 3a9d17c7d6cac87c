//! What a plan takes on every device, and what there is.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::model::{File, Model};
use crate::llama::backend::Backend;
use crate::llama::device;
use crate::llama::probe::Layout;
use crate::steer::ModelSource;

/// llama.cpp's name for main memory and what computes on it.
pub const CPU: &str = "CPU";

/// A device that a plan uses, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    pub name: String,
    pub weights: u64,
    pub kv: u64,
    pub compute: u64,
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
    /// `None` where llama.cpp could not lay it out.
    pub compute: Option<u64>,
}

/// Weights by the header, computing by llama.cpp; the cache by llama.cpp too, or where it could not, by the header.
#[must_use]
pub fn need(model: &Model, source: &ModelSource) -> Option<Need> {
    let file = model.file.as_ref().ok()?;
    let layout = layout(model);
    let times = |bytes: u64, n: usize| bytes.saturating_mul(n as u64);
    let kv = layout.map(|layout| layout.kv_bytes).or_else(|| file.kv_bytes(&source.context));
    let compute = layout.map(|layout| layout.compute.iter().map(|(_, bytes)| bytes).sum());
    let kv = kv.map(|bytes| times(bytes, model.n_lanes));
    let compute = compute.map(|bytes| times(bytes, model.n_contexts));
    Some(Need { weights: file.header.tensor_bytes(), kv, compute })
}

fn layout(model: &Model) -> Option<&Layout> {
    model.report()?.layout.as_ref().ok()
}

/// Bytes of memory of all devices.
pub(super) fn everywhere(backend: &Backend) -> u64 {
    device::offload(backend).iter().map(|device| device.memory_total as u64).sum::<u64>() + main_memory().0
}

/// The devices that the models use, main memory first. Each file is loaded once.
#[must_use]
pub fn devices<'a>(backend: &Backend, models: impl Iterator<Item = (&'a Model, &'a ModelSource)>) -> Vec<Device> {
    let (total, free) = main_memory();
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
        for (place, bytes) in weights(file, &layers) {
            devices[place].weights = devices[place].weights.saturating_add(bytes);
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
    }
    devices.retain(|device| device.name == CPU || device.needed() > 0);
    devices
}

/// Buffers in main memory that a device reads are called after it too.
fn place_of(buffer: &str, find: impl Fn(&str) -> usize) -> usize {
    if buffer.ends_with("_Host") { 0 } else { find(buffer) }
}

/// Where every tensor goes: layers to their devices, what is read to the CPU, what is written to the last one's.
fn weights(file: &File, layers: &[usize]) -> Vec<(usize, u64)> {
    let output = layers.last().copied().unwrap_or(0);
    let mut placed = Vec::new();
    let mut has_output = false;
    for tensor in file.header.tensors() {
        let layer = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        let place = match layer {
            Some(layer) => layers.get(layer).copied().unwrap_or(0),
            None if tensor.name.contains("token_embd") => 0,
            None => output,
        };
        has_output |= tensor.name == "output.weight";
        placed.push((place, tensor.n_bytes));
    }
    // An embedding that is the output as well is on both devices.
    let embedding = file.header.tensors().iter().find(|tensor| tensor.name == "token_embd.weight");
    if let Some(embedding) = embedding.filter(|_| !has_output && output != 0) {
        placed.push((output, embedding.n_bytes));
    }
    placed
}

/// Bytes of main memory in all and free for use, as far as this process may use them.
fn main_memory() -> (u64, u64) {
    let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(refresh);
    let (total, free) = (system.total_memory(), system.available_memory());
    match system.cgroup_limits() {
        Some(limits) if limits.total_memory > 0 => (total.min(limits.total_memory), free.min(limits.free_memory)),
        _ => (total, free),
    }
}
