//! What a context is opened with.

use llama_cpp_sys_2 as sys;
use serde::{Deserialize, Serialize};

use crate::parameter::OutOfRange;
use crate::recipe::placement::CacheType;
use crate::recipe::rope::{Rope, RopeScaling};

/// More than any model was trained on. llama.cpp keeps some 40 bytes for each, whatever else the cache takes.
pub(super) const MAX_CTX: usize = 1 << 24;
/// `LLAMA_MAX_SEQ`
pub(super) const MAX_SEQUENCES: usize = 256;
/// `GGML_MAX_N_THREADS`
pub(super) const MAX_THREADS: usize = 512;

/// How a context computes. The defaults are llama.cpp's, but for its size, which is the caller's to choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContextParams {
    /// Tokens that each sequence can hold, prompt and answer together.
    pub n_ctx: usize,
    /// Most tokens in one decode.
    pub n_batch: usize,
    /// Most rows that one decode puts out for one text; see [`Sequences::n_together`]. llama.cpp reserves `4 · n_vocab`
    /// bytes for each.
    pub n_outputs_max: usize,
    /// Threads, the same for one token and for many: teams of changing size are set up anew by OpenMP each time.
    pub n_threads: usize,
    pub flash_attention: FlashAttention,
    pub cache_type_k: CacheType,
    pub cache_type_v: CacheType,
    /// Keep the KV cache where the layers are.
    pub offload_kqv: bool,
    pub rope: Rope,
}

impl Default for ContextParams {
    fn default() -> Self {
        Self {
            n_ctx: 2048,
            n_batch: 512,
            n_outputs_max: 16,
            n_threads: num_cpus::get_physical().min(num_cpus::get()),
            flash_attention: FlashAttention::Auto,
            cache_type_k: CacheType::F16,
            cache_type_v: CacheType::F16,
            offload_kqv: true,
            rope: Rope::default(),
        }
    }
}

impl ContextParams {
    /// Refuses what no model's context could be opened with.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let bounded = [
            ("context size", self.n_ctx, MAX_CTX),
            ("batch size", self.n_batch, i32::MAX as usize),
            ("threads", self.n_threads, MAX_THREADS),
        ];
        for (name, value, most) in bounded {
            if !(1..=most).contains(&value) {
                return Err(OutOfRange::new(name, value, format!("1 to {most}")));
            }
        }
        self.rope.validate()?;
        if self.cache_type_v.is_quantised() && self.flash_attention == FlashAttention::Off {
            let expected = "f32, f16 or bf16, as flash attention is off";
            return Err(OutOfRange::new("cache-type-v", "quantised", expected));
        }
        Ok(())
    }
}

/// `--flash-attn`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlashAttention {
    Auto,
    On,
    Off,
}

/// Sequences of a context, and the cells of the KV cache that they live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequences {
    pub n: usize,
    /// One stream of cells for all sequences, in place of one for each. A batch of any shape is computed at once there;
    /// with streams of their own, sequences that bring different numbers of tokens are computed one after the other, but
    /// their sums never depend on where other sequences left room.
    pub unified: bool,
    /// Sequences that can be full at the same time: all of them, unless they share cells.
    pub n_full: usize,
    /// Sequences that belong to one text and put out their rows together.
    pub n_together: usize,
}

impl Sequences {
    pub const ONE: Self = Self { n: 1, unified: false, n_full: 1, n_together: 1 };
}

pub(super) fn raw_type(kind: CacheType) -> sys::ggml_type {
    match kind {
        CacheType::F32 => sys::GGML_TYPE_F32,
        CacheType::F16 => sys::GGML_TYPE_F16,
        CacheType::Bf16 => sys::GGML_TYPE_BF16,
        CacheType::Q8_0 => sys::GGML_TYPE_Q8_0,
        CacheType::Q4_0 => sys::GGML_TYPE_Q4_0,
        CacheType::Q4_1 => sys::GGML_TYPE_Q4_1,
        CacheType::Iq4Nl => sys::GGML_TYPE_IQ4_NL,
        CacheType::Q5_0 => sys::GGML_TYPE_Q5_0,
        CacheType::Q5_1 => sys::GGML_TYPE_Q5_1,
    }
}

/// Sets what was chosen; llama.cpp's defaults take the rest from the file.
pub(super) fn set_rope(raw: &mut sys::llama_context_params, rope: &Rope) {
    if let Some(scaling) = rope.scaling {
        raw.rope_scaling_type = match scaling {
            RopeScaling::None => sys::LLAMA_ROPE_SCALING_TYPE_NONE,
            RopeScaling::Linear => sys::LLAMA_ROPE_SCALING_TYPE_LINEAR,
            RopeScaling::Yarn => sys::LLAMA_ROPE_SCALING_TYPE_YARN,
        };
    }
    raw.rope_freq_base = rope.freq_base.unwrap_or(raw.rope_freq_base);
    raw.rope_freq_scale = rope.freq_scale().unwrap_or(raw.rope_freq_scale);
    raw.yarn_orig_ctx = rope.yarn_orig_ctx.unwrap_or(raw.yarn_orig_ctx);
    raw.yarn_ext_factor = rope.yarn_ext_factor.unwrap_or(raw.yarn_ext_factor);
    raw.yarn_attn_factor = rope.yarn_attn_factor.unwrap_or(raw.yarn_attn_factor);
    raw.yarn_beta_slow = rope.yarn_beta_slow.unwrap_or(raw.yarn_beta_slow);
    raw.yarn_beta_fast = rope.yarn_beta_fast.unwrap_or(raw.yarn_beta_fast);
}
