//! One model's context: tokens go in, rows of logits come out.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use llama_cpp_sys_2 as sys;
use serde::{Deserialize, Serialize};

use super::batch::Batch;
pub use super::batch::Outputs;
use super::model::Model;
use super::{Error, Token, log};
use crate::recipe;

/// How a lane computes. The defaults are llama.cpp's, but for the context, which is the caller's to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneParams {
    /// Tokens the lane can hold, prompt and answer together.
    pub n_ctx: usize,
    /// Most tokens in one decode.
    pub n_batch: usize,
    /// Most rows that one decode puts out. llama.cpp reserves `4 · n_vocab` bytes for each.
    pub n_outputs_max: usize,
    /// Threads, the same for one token and for many: teams of changing size are set up anew by OpenMP each time.
    pub n_threads: usize,
    pub flash_attention: FlashAttention,
    pub cache_type_k: CacheType,
    pub cache_type_v: CacheType,
    /// Keep the KV cache where the layers are.
    pub offload_kqv: bool,
}

impl Default for LaneParams {
    fn default() -> Self {
        Self {
            n_ctx: 2048,
            n_batch: 512,
            n_outputs_max: 1,
            n_threads: num_cpus::get_physical().min(num_cpus::get()),
            flash_attention: FlashAttention::Auto,
            cache_type_k: CacheType::F16,
            cache_type_v: CacheType::F16,
            offload_kqv: true,
        }
    }
}

impl LaneParams {
    /// Refuses what no model's lane could be opened with.
    pub fn check(&self) -> Result<(), recipe::Error> {
        let bounded = [
            ("context size", self.n_ctx, MAX_CTX),
            ("batch size", self.n_batch, i32::MAX as usize),
            ("threads", self.n_threads, MAX_THREADS),
        ];
        for (name, value, most) in bounded {
            if !(1..=most).contains(&value) {
                return Err(recipe::Error::parameter(name, value, format!("1 to {most}")));
            }
        }
        if self.cache_type_v.is_quantised() && self.flash_attention == FlashAttention::Off {
            let expected = "f32, f16 or bf16, as flash attention is off";
            return Err(recipe::Error::parameter("cache-type-v", "quantised", expected));
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

/// `--cache-type-k`, `--cache-type-v`: the types llama.cpp offers for a KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheType {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4_1,
    Iq4Nl,
    Q5_0,
    Q5_1,
}

impl CacheType {
    pub const ALL: [Self; 9] =
        [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q4_0, Self::Q4_1, Self::Iq4Nl, Self::Q5_0, Self::Q5_1];

    fn raw(self) -> sys::ggml_type {
        match self {
            Self::F32 => sys::GGML_TYPE_F32,
            Self::F16 => sys::GGML_TYPE_F16,
            Self::Bf16 => sys::GGML_TYPE_BF16,
            Self::Q8_0 => sys::GGML_TYPE_Q8_0,
            Self::Q4_0 => sys::GGML_TYPE_Q4_0,
            Self::Q4_1 => sys::GGML_TYPE_Q4_1,
            Self::Iq4Nl => sys::GGML_TYPE_IQ4_NL,
            Self::Q5_0 => sys::GGML_TYPE_Q5_0,
            Self::Q5_1 => sys::GGML_TYPE_Q5_1,
        }
    }

    /// llama.cpp's name, as it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Iq4Nl => "iq4_nl",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
        }
    }

    fn is_quantised(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }
}

/// Where a lane's time went. Prompt: tokens decoded for the last row at most; decode: for a row each. On a device the
/// time is that of the call and of the waiting, not what it computed beside other lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    pub n_prompt: usize,
    pub t_prompt: Duration,
    pub n_decode: usize,
    pub t_decode: Duration,
}

/// More than any model was trained on. llama.cpp keeps some 40 bytes for each, whatever else the cache takes.
const MAX_CTX: usize = 1 << 24;
/// `GGML_MAX_N_THREADS`
const MAX_THREADS: usize = 512;

/// A context on a model, with one sequence in it.
#[derive(Debug)]
pub struct Lane {
    context: NonNull<sys::llama_context>,
    batch: Batch,
    n_ctx: usize,
    n_outputs_max: usize,
    n_vocab: usize,
    n_past: usize,
    /// Rows of the last decode, and the batch index of the first.
    rows: (usize, usize),
    /// The decode whose results have not been waited for: its tokens, what they put out, and its time so far.
    pending: Option<(usize, Outputs, Duration)>,
    timings: Timings,
    /// It was to forget a part and had to forget all.
    lost: bool,
    // Last, so that the context goes before its model.
    model: Arc<Model>,
}

// SAFETY: a llama_context may be used from any thread, by one at a time, which `&mut self` guarantees.
unsafe impl Send for Lane {}

impl Lane {
    pub fn new(model: Arc<Model>, params: &LaneParams) -> Result<Self, Error> {
        // llama.cpp writes to the model while it creates a context.
        static CREATING: Mutex<()> = Mutex::new(());
        let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);

        let failed = |reason: String| {
            let n_ctx = u32::try_from(params.n_ctx).unwrap_or(u32::MAX);
            Error::Context { path: model.path().to_path_buf(), n_ctx, reason }
        };
        params.check()?;
        let n_batch = params.n_batch.min(params.n_ctx);
        let n_outputs_max = params.n_outputs_max.clamp(1, n_batch);
        // SAFETY: takes no argument.
        let mut raw = unsafe { sys::llama_context_default_params() };
        raw.n_ctx = params.n_ctx as u32;
        raw.n_batch = n_batch as u32;
        raw.n_ubatch = n_batch as u32;
        raw.n_seq_max = 1;
        raw.n_outputs_max = n_outputs_max as u32;
        raw.n_threads = params.n_threads as i32;
        raw.n_threads_batch = params.n_threads as i32;
        raw.flash_attn_type = match params.flash_attention {
            FlashAttention::Auto => sys::LLAMA_FLASH_ATTN_TYPE_AUTO,
            FlashAttention::On => sys::LLAMA_FLASH_ATTN_TYPE_ENABLED,
            FlashAttention::Off => sys::LLAMA_FLASH_ATTN_TYPE_DISABLED,
        };
        raw.type_k = params.cache_type_k.raw();
        raw.type_v = params.cache_type_v.raw();
        raw.offload_kqv = params.offload_kqv;
        // Without the full cache a sliding-window model cannot be rolled back.
        raw.swa_full = true;
        raw.no_perf = true;

        log::take_errors("");
        // SAFETY: the model is valid and held below for as long as the context; no other context of any model is
        // being created.
        let context = unsafe { sys::llama_init_from_model(model.raw().as_ptr(), raw) };
        let context = NonNull::new(context).ok_or_else(|| failed(log::take_errors("it gave no reason")))?;
        // SAFETY: the context is valid.
        let n_ctx = unsafe { sys::llama_n_ctx_seq(context.as_ptr()) } as usize;
        let lane = Self {
            context,
            batch: Batch::new(n_batch),
            // llama.cpp rounds the context up; what was asked for is what is kept to.
            n_ctx: n_ctx.min(params.n_ctx),
            n_outputs_max,
            n_vocab: model.n_vocab(),
            n_past: 0,
            rows: (0, 0),
            pending: None,
            timings: Timings::default(),
            lost: false,
            model,
        };
        // SAFETY: the context is valid.
        if unsafe { sys::llama_get_memory(lane.context.as_ptr()) }.is_null() {
            let reason = "it keeps no memory of what it read, expected a model that generates text";
            return Err(Error::NotGenerative { path: lane.model.path().to_path_buf(), reason });
        }
        Ok(lane)
    }

    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    #[must_use]
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// Most tokens in one decode.
    #[must_use]
    pub fn n_batch(&self) -> usize {
        self.batch.capacity()
    }

    /// Most rows that one decode puts out.
    #[must_use]
    pub fn n_outputs_max(&self) -> usize {
        self.n_outputs_max
    }

    #[must_use]
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// Tokens in the KV cache.
    #[must_use]
    pub fn n_past(&self) -> usize {
        self.n_past
    }

    #[must_use]
    pub fn timings(&self) -> Timings {
        self.timings
    }

    pub fn reset_timings(&mut self) {
        self.timings = Timings::default();
    }

    /// Starts to decode `tokens` behind those already there. On a CPU this returns when it is done, on a device
    /// before. On an error the lane holds what it held.
    pub fn submit(&mut self, tokens: &[Token], outputs: Outputs) -> Result<(), Error> {
        self.wait();
        let n_tokens = tokens.len();
        let n_batch = if outputs == Outputs::All { self.n_outputs_max } else { self.n_batch() };
        if n_tokens == 0 || n_tokens > n_batch {
            return Err(Error::BatchSize { n_tokens, n_batch });
        }
        if self.n_past + n_tokens > self.n_ctx {
            return Err(Error::ContextFull { n_past: self.n_past, n_new: n_tokens, n_ctx: self.n_ctx });
        }
        tokens.iter().try_for_each(|&token| self.model.check(token))?;
        self.rows = (0, 0);

        log::take_errors("");
        let began = Instant::now();
        let batch = self.batch.fill(tokens, self.n_past, outputs);
        // SAFETY: the context is valid; the batch points into vectors of n_tokens entries that live in `self`; its
        // size, positions, sequence id and tokens are checked above.
        let code = unsafe { sys::llama_decode(self.context.as_ptr(), batch) };
        if code != 0 {
            let reason = match code {
                1 => "no room in the KV cache".to_owned(),
                2 => "it was aborted".to_owned(),
                _ => log::take_errors("it gave no reason"),
            };
            let n_past = self.n_past;
            self.roll_back(n_past);
            return Err(Error::Decode { n_past, n_tokens, code, reason });
        }
        self.n_past += n_tokens;
        self.rows = match outputs {
            Outputs::None => (0, 0),
            Outputs::Last => (1, n_tokens - 1),
            Outputs::All => (n_tokens, 0),
        };
        self.pending = Some((n_tokens, outputs, began.elapsed()));
        Ok(())
    }

    /// Waits until the last decode is done, and books its time.
    pub fn wait(&mut self) {
        let Some((n_tokens, outputs, submitted)) = self.pending.take() else { return };
        let began = Instant::now();
        // SAFETY: the context is valid.
        unsafe { sys::llama_synchronize(self.context.as_ptr()) };
        let spent = submitted + began.elapsed();
        if outputs == Outputs::All {
            self.timings.n_decode += n_tokens;
            self.timings.t_decode += spent;
        } else {
            self.timings.n_prompt += n_tokens;
            self.timings.t_prompt += spent;
        }
    }

    /// [`Self::submit`] and [`Self::wait`].
    pub fn decode(&mut self, tokens: &[Token], outputs: Outputs) -> Result<(), Error> {
        self.submit(tokens, outputs)?;
        self.wait();
        Ok(())
    }

    /// Row `i` of the logits `[n_vocab]` that the last decode put out. Call [`Self::wait`] before.
    pub fn row(&self, i: usize) -> Result<&[f32], Error> {
        let (n_rows, first) = self.rows;
        if i >= n_rows {
            return Err(Error::Row { row: i, n_rows });
        }
        // SAFETY: the context is valid; batch entry `first + i` was decoded with an output.
        let row = unsafe { sys::llama_get_logits_ith(self.context.as_ptr(), (first + i) as i32) };
        if row.is_null() {
            return Err(Error::Row { row: i, n_rows: 0 });
        }
        // SAFETY: llama.cpp keeps n_vocab floats a row until the next decode or the end of the context; both need
        // `&mut self`.
        Ok(unsafe { std::slice::from_raw_parts(row, self.n_vocab) })
    }

    /// Whether the lane had to forget more than it was asked to; true until it is emptied.
    #[must_use]
    pub fn lost(&self) -> bool {
        self.lost
    }

    /// Forgets everything behind the first `n_past` tokens. Where a model cannot forget a part (recurrent state), it
    /// forgets all, and is [`Self::lost`].
    pub fn roll_back(&mut self, n_past: usize) {
        self.wait();
        self.rows = (0, 0);
        // SAFETY: the context is valid; sequence 0 exists in every context.
        unsafe {
            let memory = sys::llama_get_memory(self.context.as_ptr());
            self.n_past = if sys::llama_memory_seq_rm(memory, 0, n_past as i32, -1) {
                n_past.min(self.n_past)
            } else {
                sys::llama_memory_clear(memory, false);
                0
            };
        }
        self.lost = self.n_past != n_past;
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // SAFETY: the pointer came from llama_init_from_model, and its model is still held.
        unsafe { sys::llama_free(self.context.as_ptr()) };
    }
}
