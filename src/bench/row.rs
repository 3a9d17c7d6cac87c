//! One line of the table: llama-bench's fields by llama-bench's names, and who was measured.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::arithmetic::statistics::mean_and_deviation;
use crate::llama::context::{ContextParams, FlashAttention};
use crate::llama::model::{LoadMode, ModelParams, SplitMode};
use crate::steer::ModelSource;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A model by itself, as an index into [`super::Subjects::alone`].
    Alone(usize),
    /// The steered model, a token in each step.
    Lockstep,
    /// The steered model with drafts.
    Speculative,
}

impl How {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alone(_) => "alone",
            Self::Lockstep => "lockstep",
            Self::Speculative => "speculative",
        }
    }
}

/// What all rows have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// llama.cpp's version; its vendored sources do not know their commit.
    pub build: String,
    pub cpu_info: String,
    pub gpu_info: String,
    pub backends: String,
}

/// The models of a row: one, or all of a steered model.
#[derive(Debug, Clone, PartialEq)]
pub struct Models {
    /// Roles in words, or `steered`.
    pub role: String,
    pub filename: String,
    pub kind: String,
    pub n_bytes: u64,
    pub n_params: u64,
    /// How it runs; of a steered model, the base.
    pub source: ModelSource,
}

/// One test of one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    pub machine: Machine,
    pub models: Models,
    pub how: How,
    pub n_prompt: usize,
    pub n_gen: usize,
    /// When the test began, in UTC.
    pub test_time: String,
    pub samples_ns: Vec<u64>,
}

impl Measurement {
    /// Tokens a second, run by run.
    #[must_use]
    pub fn samples_ts(&self) -> Vec<f64> {
        let n_tokens = (self.n_prompt + self.n_gen) as f64;
        self.samples_ns.iter().map(|&ns| n_tokens * 1e9 / ns as f64).collect()
    }

    /// Tokens a second: mean and standard deviation over the runs.
    #[must_use]
    pub fn speed(&self) -> (f64, f64) {
        mean_and_deviation(&self.samples_ts())
    }

    /// Such as `pp512` or `tg128`.
    #[must_use]
    pub fn test(&self) -> String {
        if self.n_gen == 0 { format!("pp{}", self.n_prompt) } else { format!("tg{}", self.n_gen) }
    }

    /// Every field but the runs one by one, in llama-bench's order.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        let Self { machine, models, how, n_prompt, n_gen, test_time, samples_ns } = self;
        let ModelSource { model, context, .. } = &models.source;
        let n_gpu_layers = model.gpu_layers();
        let ModelParams { split_mode, main_gpu, tensor_split, load_mode, kernels, repack, .. } = model;
        let ContextParams { n_ctx, n_batch, n_threads, cache_type_k, cache_type_v, offload_kqv, .. } = context;
        let ns: Vec<_> = samples_ns.iter().map(|&ns| ns as f64).collect();
        let (avg_ns, stddev_ns) = mean_and_deviation(&ns);
        let (avg_ts, stddev_ts) = self.speed();
        let split = match split_mode {
            SplitMode::None => "none",
            SplitMode::Layer => "layer",
            SplitMode::Row => "row",
        };
        let load = match load_mode {
            LoadMode::Auto => "auto",
            LoadMode::None => "none",
            LoadMode::Mmap => "mmap",
            LoadMode::Mlock => "mlock",
            LoadMode::MmapMlock => "mmap+mlock",
            LoadMode::DirectIo => "dio",
        };
        let flash_attention = match context.flash_attention {
            FlashAttention::Auto => -1,
            FlashAttention::Off => 0,
            FlashAttention::On => 1,
        };
        let shares: Vec<_> = tensor_split.iter().map(|share| format!("{share:.2}")).collect();
        let n_batch = n_batch.min(n_ctx);
        vec![
            ("build_commit", json!(machine.build)),
            ("build_number", json!(0)),
            ("cpu_info", json!(machine.cpu_info)),
            ("gpu_info", json!(machine.gpu_info)),
            ("backends", json!(machine.backends)),
            ("model_filename", json!(models.filename)),
            ("model_type", json!(models.kind)),
            ("model_size", json!(models.n_bytes)),
            ("model_n_params", json!(models.n_params)),
            ("n_batch", json!(n_batch)),
            ("n_ubatch", json!(n_batch)),
            ("n_threads", json!(n_threads)),
            ("type_k", json!(cache_type_k.to_string())),
            ("type_v", json!(cache_type_v.to_string())),
            ("n_gpu_layers", json!(n_gpu_layers)),
            ("split_mode", json!(split)),
            ("main_gpu", json!(main_gpu)),
            ("no_kv_offload", json!(!offload_kqv)),
            ("flash_attn", json!(flash_attention)),
            ("tensor_split", json!(if shares.is_empty() { "0.00".to_owned() } else { shares.join("/") })),
            ("load_mode", json!(load)),
            ("kernels", json!(kernels)),
            ("repack", json!(repack)),
            ("n_prompt", json!(n_prompt)),
            ("n_gen", json!(n_gen)),
            ("n_depth", json!(0)),
            ("test_time", json!(test_time)),
            ("avg_ns", json!(avg_ns.round() as u64)),
            ("stddev_ns", json!(stddev_ns.round() as u64)),
            ("avg_ts", json!(avg_ts)),
            ("stddev_ts", json!(stddev_ts)),
            ("role", json!(models.role)),
            ("how", json!(how.name())),
        ]
    }
}

impl Serialize for Measurement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.fields() {
            map.serialize_entry(name, &value)?;
        }
        map.serialize_entry("samples_ns", &self.samples_ns)?;
        map.serialize_entry("samples_ts", &self.samples_ts())?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_means_over_runs() {
        let source = ModelSource::new("a.gguf");
        let models = Models {
            role: "base".to_owned(),
            filename: "a.gguf".to_owned(),
            kind: "llama".to_owned(),
            n_bytes: 2,
            n_params: 1,
            source,
        };
        let samples_ns = vec![1_000_000_000, 500_000_000];
        let row = Measurement {
            machine: Machine::default(),
            models,
            how: How::Lockstep,
            n_prompt: 0,
            n_gen: 10,
            test_time: String::new(),
            samples_ns,
        };
        assert_eq!(row.samples_ts(), [10.0, 20.0]);
        assert_eq!(row.speed(), (15.0, 50.0_f64.sqrt()));
        assert_eq!(row.test(), "tg10");
        let value = serde_json::to_value(&row).expect("JSON");
        assert_eq!((&value["avg_ns"], &value["samples_ns"][1]), (&json!(750_000_000_u64), &json!(500_000_000_u64)));
        assert_eq!((&value["how"], &value["n_gpu_layers"]), (&json!("lockstep"), &json!(-1)));
    }
}
