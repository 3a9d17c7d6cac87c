//! Where the weights of a model go, and what they take there.
//!
//! Layers go to their devices, the embedding to main memory, the output to the last layer's device; `--override-tensor`
//! says otherwise for single tensors. In main memory llama.cpp keeps most quantised matrices repacked for the CPU at hand.
//! Where the file is mapped, they are a second copy: the mapping holds everything from the first tensor that is used as
//! it is in the file to the last one.

use super::model::File;
use crate::gguf::tensors::Tensor;
use crate::llama::model::LoadMode;
use crate::llama::overrides::CPU;
use crate::llama::probe::Layout;
use crate::steer::ModelSource;

/// Weights in a buffer of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    /// llama.cpp's name of the buffer, which begins with its device's.
    pub buffer: String,
    pub n_bytes: u64,
    /// Pages of the file, which the kernel may drop and read again.
    pub is_mapped: bool,
}

pub(super) fn place(file: &File, source: &ModelSource, layout: &Layout) -> Vec<Placed> {
    let tensors = file.header.tensors();
    let has_output = tensors.iter().any(|tensor| tensor.name == "output.weight");
    let load_mode = source.model.load_mode;
    let maps = matches!(load_mode, LoadMode::Auto | LoadMode::Mmap | LoadMode::MmapMlock);
    let mut placed = Vec::new();
    // A file behind the first one of a split model counts its offsets from 0 again.
    for tensors in tensors.chunk_by(|a, b| b.offset > a.offset) {
        let mut mapped: Option<(u64, u64)> = None;
        for tensor in tensors {
            for buffer in buffers(tensor, layout, has_output) {
                // llama.cpp maps what would be in the plain memory of a device's host.
                if maps && (buffer == CPU || buffer.ends_with("_Host")) {
                    let end = tensor.offset.saturating_add(tensor.n_bytes);
                    let (first, last) = mapped.unwrap_or((tensor.offset, end));
                    mapped = Some((first.min(tensor.offset), last.max(end)));
                } else {
                    placed.push(Placed { buffer: buffer.to_owned(), n_bytes: tensor.n_bytes, is_mapped: false });
                }
            }
        }
        placed.extend(mapped.map(|(first, last)| Placed {
            buffer: CPU.to_owned(),
            n_bytes: last - first,
            is_mapped: load_mode != LoadMode::MmapMlock,
        }));
    }
    placed
}

/// The buffers that hold a tensor: one, or two for an embedding that is the output as well and is read otherwise there.
fn buffers<'a>(tensor: &Tensor, layout: &'a Layout, has_output: bool) -> Vec<&'a str> {
    let named = |of: &'a [(String, String)]| {
        let own = of.iter().filter(|(name, _)| *name == tensor.name);
        own.map(|(_, buffer)| buffer.as_str()).collect::<Vec<_>>()
    };
    let overridden = named(&layout.overridden);
    let on_cpu = || {
        let named = named(&layout.on_cpu);
        if named.is_empty() { vec![CPU] } else { named }
    };
    let output = layout.layers.last().map_or(CPU, String::as_str);
    let is_embedding = tensor.name.contains("token_embd");
    let layer = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    let device = match layer {
        Some(layer) => layout.layers.get(layer).map_or(CPU, String::as_str),
        None if is_embedding => CPU,
        None => output,
    };
    let mut buffers = if !overridden.is_empty() {
        overridden
    } else if device != CPU {
        vec![device]
    } else if tensor.name == "token_embd.weight" && !has_output && output != CPU {
        vec![on_cpu()[0], output]
    } else {
        on_cpu()
    };
    buffers.dedup();
    buffers
}
