//! What llama.cpp makes of a file before its weights are read, and, where that is asked for, after.

use std::path::Path;
use std::sync::Arc;

use llama_cpp_2::LlamaBackendDevice;
use llama_cpp_sys_2 as sys;
use serde::{Deserialize, Serialize};

use super::adapter::Adapter;
use super::backend::Backend;
use super::context::{Context, ContextParams, Outputs, Sequences};
use super::invariance::{self, Invariance, MAX_WIDTH};
use super::model::{Extent, Model, ModelParams};
use super::overrides::TensorOverride;
use super::{Error, Token, device, log};
use crate::arithmetic::offset::first_non_finite_logit;
use crate::recipe::model_spec::Lora;

/// What llama.cpp settles about a vocabulary beyond what its file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    pub bos: Option<Token>,
    pub eos: Option<Token>,
    /// Whether a text begins with BOS and ends with EOS.
    pub add_bos: bool,
    pub add_eos: bool,
    /// Tokens that end a generation, with what they are called.
    pub eog: Vec<(Token, String)>,
}

/// Reads the vocabulary alone.
pub fn vocabulary(backend: &Backend, path: &Path) -> Result<Vocabulary, Error> {
    Model::open(backend, path, &ModelParams::default(), Extent::Vocabulary, |_| true).map(|model| vocabulary_of(&model))
}

fn vocabulary_of(model: &Model) -> Vocabulary {
    let vocab = model.vocab();
    let there = |token: Token| Some(token).filter(|&token| model.has(token));
    let eog = (0..model.n_vocab() as Token).filter(|&token| model.is_eog(token));
    let eog = eog.map(|token| (token, model.piece(token))).collect();
    // SAFETY: the vocabulary is valid while the model is.
    unsafe {
        Vocabulary {
            bos: there(sys::llama_vocab_bos(vocab)),
            eos: there(sys::llama_vocab_eos(vocab)),
            add_bos: sys::llama_vocab_get_add_bos(vocab),
            add_eos: sys::llama_vocab_get_add_eos(vocab),
            eog,
        }
    }
}

/// Where a model's parts go, and what they take there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub n_params: u64,
    /// The device of every layer, the output last.
    pub layers: Vec<String>,
    /// What computing takes: the name of a buffer, which begins with its device's, and bytes.
    pub compute: Vec<(String, u64)>,
    /// The KV cache or recurrent state, all devices together.
    pub kv_bytes: u64,
    /// Tensors that the model's parameters put elsewhere than their layer, and into which buffer.
    pub overridden: Vec<(String, String)>,
    /// The buffer that every tensor has in main memory if it is kept there. An embedding that is the output as well has
    /// two.
    pub on_cpu: Vec<(String, String)>,
}

/// Lays a model and a context with some sequences out without taking the memory for them.
pub fn layout(
    backend: &Backend,
    path: &Path,
    model: &ModelParams,
    context: &ContextParams,
    sequences: Sequences,
) -> Result<(Vocabulary, Layout), Error> {
    let open = |params: &ModelParams| Model::open(backend, path, params, Extent::Layout, |_| true).map(Arc::new);
    // llama.cpp chooses among the buffers of main memory by itself, and tells what it chose for an override alone.
    let mut all_on_cpu = model.clone();
    all_on_cpu.overrides.push(TensorOverride::on_cpu("."));
    let has_devices = !device::offload(backend).is_empty();
    let (laid_out, lines) = log::collect(|| {
        let model = open(if has_devices { model } else { &all_on_cpu })?;
        Context::with(model.clone(), &[], context, sequences).map(|_| model)
    });
    let model = laid_out?;
    let mut layout = Layout { n_params: model.n_params(), ..Layout::default() };
    for line in &lines {
        layout.read(line);
    }
    if has_devices {
        let (opened, lines) = log::collect(|| open(&all_on_cpu));
        opened?;
        layout.on_cpu = lines.iter().filter_map(|line| overridden(line)).collect();
    } else {
        layout.on_cpu = std::mem::take(&mut layout.overridden);
    }
    layout.tell_servers_apart(&device::offload(backend));
    Ok((vocabulary_of(&model), layout))
}

/// `tensor blk.0.ffn_up.weight (1 MiB q4_0) buffer type overridden to CPU_REPACK`
fn overridden(line: &str) -> Option<(String, String)> {
    let (tensor, buffer) = line.strip_prefix("tensor ")?.split_once(" buffer type overridden to ")?;
    // A name may hold blanks; what stands behind it does not begin with a bracket twice.
    let (name, _) = tensor.rsplit_once(" (")?;
    Some((name.to_owned(), buffer.to_owned()))
}

impl Layout {
    /// Has every buffer begin with the name of its device.
    fn tell_servers_apart(&mut self, devices: &[LlamaBackendDevice]) {
        let compute = self.compute.iter_mut().map(|(buffer, _)| buffer);
        let tensors = self.overridden.iter_mut().chain(&mut self.on_cpu).map(|(_, buffer)| buffer);
        for buffer in compute.chain(tensors) {
            if let Some(name) = device::rpc_buffer(devices, buffer) {
                *buffer = name;
            }
        }
    }

    /// Takes in a line of llama.cpp's log: `f: CPU compute buffer size = 12.50 MiB`,
    /// `f: size = 3.00 MiB (256 cells, …`, `f: layer 0 assigned to device CPU, …`.
    fn read(&mut self, line: &str) {
        self.overridden.extend(overridden(line));
        let Some((_, said)) = line.split_once(": ") else { return };
        let mib = |text: &str| {
            let number = text.trim_start().split(' ').next()?.parse::<f64>().ok()?;
            Some((number * f64::from(1 << 20)) as u64)
        };
        if let Some((buffer, bytes)) = said.split_once(" compute buffer size =") {
            self.compute.extend(mib(bytes).map(|bytes| (buffer.trim().to_owned(), bytes)));
        } else if let Some(bytes) = said.strip_prefix("size =").filter(|rest| rest.contains(" cells,")) {
            self.kv_bytes += mib(bytes).unwrap_or_default();
        } else if let Some((_, device)) =
            line.strip_prefix("load_tensors: ").and(said.split_once(" assigned to device "))
        {
            self.layers.push(device.split(',').next().unwrap_or_default().to_owned());
        }
    }
}

/// Loads the weights, refuses those that are not finite, decodes, and tells whether logits depend on how tokens are
/// batched.
pub fn decode(
    backend: &Backend,
    path: &Path,
    adapters: &[Lora],
    model: &ModelParams,
    context: &ContextParams,
) -> Result<Invariance, Error> {
    let params = ModelParams { check_tensors: true, ..model.clone() };
    let model = Arc::new(Model::load(backend, path, &params, |_| true)?);
    let load = |lora: &Lora| Adapter::load(&model, &lora.path).map(|adapter| (Arc::new(adapter), lora.scale));
    let adapters = adapters.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    let token = model.leading_bos().unwrap_or(0);
    let params = ContextParams { n_outputs_max: MAX_WIDTH, ..context.clone() };
    let mut context = Context::with(model.clone(), &adapters, &params, Sequences::ONE)?;
    context.decode(&[token], Outputs::Last)?;
    let row = context.row(0, 0)?;
    if let Some(id) = first_non_finite_logit(row) {
        return Err(Error::NotFinite { id, value: row[id] });
    }
    context.roll_back(0, 0);
    invariance::probe(&mut context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_log_are_understood() {
        let mut layout = Layout::default();
        for line in [
            "load_tensors: layer   0 assigned to device CUDA0, is_swa = 0",
            "load_tensors: layer   1 assigned to device CPU, is_swa = 0",
            "resolve: layer 0 is assigned to device CUDA0 but Flash Attention is assigned to device CPU (usually …)",
            "sched_reserve:        CPU compute buffer size =    12.50 MiB",
            "sched_reserve:  CUDA_Host compute buffer size =     0.25 MiB",
            "llama_kv_cache: size =    3.00 MiB (   256 cells,   2 layers,  1/1 seqs), K (f16):    1.50 MiB, V …",
            "llama_kv_cache: size =    0.50 MiB (   256 cells,   2 layers,  1/1 seqs), K (f16):    0.25 MiB, V …",
            "load: token to piece cache size = 0.0013 MB",
            "tensor blk.0.ffn_up_exps.weight (0 MiB q4_K) buffer type overridden to CPU_REPACK",
            "print_info: model size = 3 MiB",
        ] {
            layout.read(line);
        }
        assert_eq!(layout.layers, ["CUDA0", "CPU"]);
        assert_eq!(layout.compute, [("CPU".to_owned(), 12 << 20 | 1 << 19), ("CUDA_Host".to_owned(), 1 << 18)]);
        assert_eq!(layout.kv_bytes, 7 << 19);
        assert_eq!(layout.overridden, [("blk.0.ffn_up_exps.weight".to_owned(), "CPU_REPACK".to_owned())]);
    }
}
