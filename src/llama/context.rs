//! One model's context: tokens go in by sequence, rows of logits come out.

mod params;

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use llama_cpp_sys_2 as sys;
use serde::{Deserialize, Serialize};

pub use self::params::{ContextParams, FlashAttention, Sequences};
use self::params::{MAX_CTX, MAX_SEQUENCES, raw_type, set_rope};
use super::adapter::Scaled;
use super::batch::Batch;
pub use super::batch::{Outputs, Part};
use super::model::{MODEL_CHANGES, Model};
use super::{Error, Token, log};

/// Where a sequence's time went. A decode of several sequences counts for each by its share of the tokens. Prompt: tokens
/// decoded for the last row at most, or for a row each of a prompt; decode: for a row each. On a device the time is that of the call and of the waiting,
/// not what it computed beside other lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    pub n_prompt: usize,
    pub t_prompt: Duration,
    pub n_decode: usize,
    pub t_decode: Duration,
}

/// A sequence's place in a context.
#[derive(Debug, Clone, Copy, Default)]
struct Sequence {
    n_past: usize,
    /// Its first tokens whose cells are counted as another sequence's, and that one.
    n_shared: usize,
    owner: usize,
    /// Rows of the last decode, and the batch index of the first.
    rows: (usize, usize),
    /// Tokens of a decode that was not waited for, and whether each put out a row.
    submitted: Option<(usize, bool)>,
    timings: Timings,
}

/// A context on a model, with the sequences in it.
#[derive(Debug)]
pub struct Context {
    raw: NonNull<sys::llama_context>,
    batch: Batch,
    n_ctx: usize,
    /// Cells that all sequences share, where they do.
    n_shared_cells: Option<usize>,
    n_rows_max: usize,
    n_vocab: usize,
    sequences: Vec<Sequence>,
    /// What submitting the last decode took, until it is waited for; and what all decodes took.
    submitted: Option<Duration>,
    busy: Duration,
    /// Window of a model whose layers look back no further; what lies behind may be gone.
    n_swa: usize,
    breaker: Option<Box<Breaker>>,
    // After the context, which uses them; the model goes last.
    _adapters: Vec<Scaled>,
    model: Arc<Model>,
}

// SAFETY: a llama_context may be used from any thread, by one at a time, which `&mut self` guarantees; the pointers in
// the batch lead into the batch itself.
unsafe impl Send for Context {}

impl Context {
    /// A context with one sequence and the model's own weights.
    pub fn new(model: Arc<Model>, params: &ContextParams) -> Result<Self, Error> {
        Self::with(model, &[], params, Sequences::ONE)
    }

    /// A context with some sequences, on a model with adapters, each at a scale.
    pub fn with(
        model: Arc<Model>,
        adapters: &[Scaled],
        params: &ContextParams,
        sequences: Sequences,
    ) -> Result<Self, Error> {
        /// llama.cpp rounds a context up to this.
        const CELLS: usize = 256;
        // llama.cpp writes to the model while it creates a context.
        let _changing = MODEL_CHANGES.lock().unwrap_or_else(PoisonError::into_inner);

        let failed = |reason: String| {
            let n_ctx = u32::try_from(params.n_ctx).unwrap_or(u32::MAX);
            Error::Context { path: model.path().to_path_buf(), n_ctx, reason }
        };
        params.check()?;
        let Sequences { n: n_seq, unified, n_full, n_together } = sequences;
        if n_seq == 0 || n_seq > MAX_SEQUENCES {
            return Err(failed(format!("{n_seq} sequences were asked for, 1 to {MAX_SEQUENCES} are possible")));
        }
        let n_full = if unified { n_full.clamp(1, n_seq) } else { n_seq };
        let n_cells = params.n_ctx.next_multiple_of(CELLS).saturating_mul(n_full);
        if n_cells > MAX_CTX {
            return Err(failed(format!("{n_full} sequences of this size are too many")));
        }
        if let Some((adapter, _)) = adapters.iter().find(|(adapter, _)| !adapter.is_for(&model)) {
            let reason = format!("it was loaded for another model than {}", model.path().display());
            return Err(Error::Adapter { path: adapter.path().to_path_buf(), reason });
        }
        let n_batch = params.n_batch.min(params.n_ctx.saturating_mul(n_full)).max(n_seq);
        let n_together = n_together.clamp(1, n_seq);
        let n_rows_max = params.n_outputs_max.clamp(1, n_batch / n_together) * n_together + (n_seq - n_together);
        let n_rows_max = n_rows_max.min(n_batch);
        // SAFETY: takes no argument.
        let mut raw = unsafe { sys::llama_context_default_params() };
        // One sequence by itself needs no rounding, and none that shares cells is promised a part of them.
        raw.n_ctx = if n_seq == 1 { params.n_ctx } else { n_cells } as u32;
        raw.n_batch = n_batch as u32;
        raw.n_ubatch = n_batch as u32;
        raw.n_seq_max = n_seq as u32;
        raw.kv_unified = unified;
        raw.n_outputs_max = n_rows_max as u32;
        raw.n_threads = params.n_threads as i32;
        raw.n_threads_batch = params.n_threads as i32;
        raw.flash_attn_type = match params.flash_attention {
            FlashAttention::Auto => sys::LLAMA_FLASH_ATTN_TYPE_AUTO,
            FlashAttention::On => sys::LLAMA_FLASH_ATTN_TYPE_ENABLED,
            FlashAttention::Off => sys::LLAMA_FLASH_ATTN_TYPE_DISABLED,
        };
        raw.type_k = raw_type(params.cache_type_k);
        raw.type_v = raw_type(params.cache_type_v);
        raw.offload_kqv = params.offload_kqv;
        set_rope(&mut raw, &params.rope);
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
        let context = Self {
            raw: context,
            batch: Batch::new(n_batch, n_seq),
            // llama.cpp rounds the context up; what was asked for is what is kept to.
            n_ctx: n_ctx.min(params.n_ctx),
            n_shared_cells: unified.then_some(n_cells),
            n_rows_max,
            n_vocab: model.n_vocab(),
            sequences: vec![Sequence::default(); n_seq],
            submitted: None,
            busy: Duration::ZERO,
            n_swa: model.n_swa(),
            breaker: None,
            _adapters: adapters.to_vec(),
            model,
        };
        // SAFETY: the context is valid.
        if unsafe { sys::llama_get_memory(context.raw.as_ptr()) }.is_null() {
            let reason = "it keeps no memory of what it read, expected a model that generates text";
            return Err(Error::NotGenerative { path: context.model.path().to_path_buf(), reason });
        }
        if !adapters.is_empty() {
            let mut raws: Vec<_> = adapters.iter().map(|(adapter, _)| adapter.raw().as_ptr()).collect();
            let mut scales: Vec<_> = adapters.iter().map(|(_, scale)| *scale).collect();
            // SAFETY: context and adapters are valid and of one model; the arrays are as long as it is told, and
            // copied.
            let code = unsafe {
                let context = context.raw.as_ptr();
                sys::llama_set_adapters_lora(context, raws.as_mut_ptr(), raws.len(), scales.as_mut_ptr())
            };
            if code != 0 {
                let path = adapters[0].0.path().to_path_buf();
                return Err(Error::Adapter { path, reason: format!("llama.cpp refused it (code {code})") });
            }
        }
        Ok(context)
    }

    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Tokens that a sequence can hold.
    #[must_use]
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// Most tokens in one decode, all sequences together.
    #[must_use]
    pub fn n_batch(&self) -> usize {
        self.batch.capacity()
    }

    /// Most rows that one decode puts out, all sequences together.
    #[must_use]
    pub fn n_rows_max(&self) -> usize {
        self.n_rows_max
    }

    #[must_use]
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// Tokens of a sequence in the KV cache.
    #[must_use]
    pub fn n_past(&self, seq: usize) -> usize {
        self.sequences[seq].n_past
    }

    /// Tokens that still fit into a sequence.
    #[must_use]
    pub fn n_left(&self, seq: usize) -> usize {
        let own = self.n_ctx - self.sequences[seq].n_past;
        self.n_shared_left().map_or(own, |n_left| own.min(n_left))
    }

    /// Cells for all sequences together.
    #[must_use]
    pub fn n_cells(&self) -> usize {
        self.n_shared_cells.unwrap_or(self.n_ctx * self.sequences.len())
    }

    /// Cells that are left where all sequences share them.
    #[must_use]
    pub fn n_shared_left(&self) -> Option<usize> {
        self.n_shared_cells.map(|n_cells| n_cells - self.n_used())
    }

    /// Cells that are in use.
    fn n_used(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.n_past - sequence.n_shared).sum()
    }

    #[must_use]
    pub fn timings(&self, seq: usize) -> Timings {
        self.sequences[seq].timings
    }

    /// What decoding took so far, all sequences together.
    #[must_use]
    pub fn busy(&self) -> Duration {
        self.busy
    }

    pub fn reset_timings(&mut self, seq: usize) {
        self.sequences[seq].timings = Timings::default();
    }

    /// Refuses what one sequence could never decode next, whoever else decodes with it.
    pub fn check(&self, part: &Part<'_>) -> Result<(), Error> {
        let (n_past, n_new, n_batch) = (self.n_past(part.seq), part.tokens.len(), self.n_batch());
        if n_new == 0 || n_new > n_batch {
            return Err(Error::BatchSize { n_tokens: n_new, n_batch });
        }
        if part.rows().0 > self.n_rows_max {
            return Err(Error::BatchSize { n_tokens: n_new, n_batch: self.n_rows_max });
        }
        if n_new > self.n_left(part.seq) {
            return Err(Error::ContextFull { n_past, n_new, n_ctx: n_past + self.n_left(part.seq) });
        }
        part.tokens.iter().try_for_each(|&token| self.model.check(token))
    }

    /// From now on a decode is broken off midway wherever `breaks`, asked with the sequences in it, says so. For tests
    /// of what is left then; a model on a device finishes its decode all the same.
    #[doc(hidden)]
    pub fn break_where(&mut self, breaks: impl FnMut(&[usize]) -> bool + Send + 'static) {
        let breaker = Box::new(Breaker { breaks: Box::new(breaks), now: AtomicBool::new(false) });
        let now: *const AtomicBool = &raw const breaker.now;
        self.breaker = Some(breaker);
        // SAFETY: the flag lives in a box that the context holds until it is freed, or until the next one is set.
        unsafe { sys::llama_set_abort_callback(self.raw.as_ptr(), Some(is_broken_off), now.cast_mut().cast()) };
    }

    /// Starts to decode tokens behind those that the sequences hold already. On a CPU this returns when it is done, on
    /// a device before. On an error every sequence holds what it held, or nothing where its model cannot
    /// forget a part.
    pub fn submit<'a>(&mut self, parts: impl Iterator<Item = Part<'a>> + Clone) -> Result<(), Error> {
        self.wait();
        let (n_tokens, n_rows) =
            parts.clone().fold((0, 0), |(n, rows), part| (n + part.tokens.len(), rows + part.rows().0));
        let n_batch = self.n_batch();
        if n_tokens == 0 || n_tokens > n_batch || n_rows > self.n_rows_max {
            let n_batch = if n_rows > self.n_rows_max { self.n_rows_max } else { n_batch };
            return Err(Error::BatchSize { n_tokens, n_batch });
        }
        self.batch.clear();
        let mut n_new = 0;
        for (i, part) in parts.clone().enumerate() {
            self.check(&part)?;
            let n_past = self.n_past(part.seq);
            n_new += part.tokens.len();
            let is_full = self.n_shared_left().is_some_and(|n_left| n_new > n_left);
            if is_full || parts.clone().take(i).any(|other| other.seq == part.seq) {
                return Err(Error::ContextFull { n_past, n_new, n_ctx: n_past + self.n_left(part.seq) });
            }
            self.batch.add(&part, n_past);
        }
        // Whatever comes of it, llama.cpp's rows are those of this decode from here on.
        self.sequences.iter_mut().for_each(|sequence| sequence.rows = (0, 0));

        if let Some(Breaker { breaks, now }) = self.breaker.as_deref_mut() {
            *now.get_mut() = breaks(&parts.clone().map(|part| part.seq).collect::<Vec<_>>());
        }
        log::take_errors("");
        let began = Instant::now();
        let batch = self.batch.raw();
        // SAFETY: the context is valid; the batch points into vectors of n_tokens entries that live in `self`; its
        // size, positions, sequence ids and tokens are checked above.
        let code = unsafe { sys::llama_decode(self.raw.as_ptr(), batch) };
        if code != 0 {
            let reason = match code {
                1 => "no room in the KV cache".to_owned(),
                2 => "it was aborted".to_owned(),
                _ => log::take_errors("it gave no reason"),
            };
            let n_past = parts.clone().next().map_or(0, |part| self.n_past(part.seq));
            for part in parts {
                self.roll_back(part.seq, self.n_past(part.seq));
                self.search_from_the_front(part.seq);
            }
            return Err(Error::Decode { n_past, n_tokens, code, reason });
        }
        let mut begin = 0;
        for part in parts {
            let (n_rows, first) = part.rows();
            let n_new = part.tokens.len();
            let sequence = &mut self.sequences[part.seq];
            sequence.rows = (n_rows, begin + first);
            sequence.n_past += n_new;
            sequence.submitted = Some((n_new, part.outputs == Outputs::All));
            begin += n_new;
        }
        self.submitted = Some(began.elapsed());
        Ok(())
    }

    /// Waits until the last decode is done, and books its time.
    pub fn wait(&mut self) {
        let Some(submitted) = self.submitted.take() else { return };
        let began = Instant::now();
        // SAFETY: the context is valid.
        unsafe { sys::llama_synchronize(self.raw.as_ptr()) };
        let spent = submitted + began.elapsed();
        self.busy += spent;
        let n_tokens: usize = self.sequences.iter().filter_map(|sequence| sequence.submitted).map(|(n, _)| n).sum();
        for Sequence { submitted, timings, .. } in &mut self.sequences {
            let Some((n, is_decode)) = submitted.take() else { continue };
            let spent = spent.mul_f64(n as f64 / n_tokens as f64);
            if is_decode {
                timings.n_decode += n;
                timings.t_decode += spent;
            } else {
                timings.n_prompt += n;
                timings.t_prompt += spent;
            }
        }
    }

    /// Decodes tokens on the first sequence and waits.
    pub fn decode(&mut self, tokens: &[Token], outputs: Outputs) -> Result<(), Error> {
        self.submit(std::iter::once(Part { seq: 0, tokens, outputs }))?;
        self.wait();
        Ok(())
    }

    /// Row `i` of the logits `[n_vocab]` that the last decode put out for a sequence. Call [`Self::wait`] before.
    pub fn row(&self, seq: usize, i: usize) -> Result<&[f32], Error> {
        let (n_rows, first) = self.sequences[seq].rows;
        if i >= n_rows {
            return Err(Error::Row { row: i, n_rows });
        }
        // SAFETY: the context is valid; batch entry `first + i` was decoded with an output.
        let row = unsafe { sys::llama_get_logits_ith(self.raw.as_ptr(), (first + i) as i32) };
        if row.is_null() {
            return Err(Error::Row { row: i, n_rows: 0 });
        }
        // SAFETY: llama.cpp keeps n_vocab floats a row until the next decode or the end of the context; both need
        // `&mut self`.
        Ok(unsafe { std::slice::from_raw_parts(row, self.n_vocab) })
    }

    /// Forgets everything of a sequence behind its first `n_past` tokens. Where a model cannot forget a part
    /// (recurrent state), the sequence forgets all; [`Self::n_past`] tells.
    pub fn roll_back(&mut self, seq: usize, n_past: usize) {
        self.wait();
        let before = self.sequences[seq];
        let sequence = &mut self.sequences[seq];
        sequence.rows = (0, 0);
        let id = seq as sys::llama_seq_id;
        // SAFETY: the context is valid; the sequence is one of its own.
        sequence.n_past = unsafe {
            let memory = sys::llama_get_memory(self.raw.as_ptr());
            let n_kept = n_past.min(sequence.n_past);
            // Of a sliding window that moved on, what the next token would look back at may be gone.
            let first = n_kept.saturating_sub(self.n_swa);
            let is_whole = |memory| self.n_swa == 0 || sys::llama_memory_seq_pos_min(memory, id) <= first as i32;
            if n_kept > 0 && sys::llama_memory_seq_rm(memory, id, n_kept as i32, -1) && is_whole(memory) {
                n_kept
            } else {
                // A whole sequence can be removed from every memory.
                sys::llama_memory_seq_rm(memory, id, -1, -1);
                0
            }
        };
        sequence.n_shared = sequence.n_shared.min(sequence.n_past);
        let n_past = sequence.n_past;
        if self.n_shared_cells.is_some() && n_past < before.n_past {
            self.hand_over(seq, before, n_past);
        }
    }

    /// Makes llama.cpp look for free cells from the first one on. When a decode of several streams fails, it is left with
    /// places to start from that belong to other streams (`llama_kv_cache::prepare`): tokens would come to lie in
    /// another order than they were read in, and be summed in that.
    fn search_from_the_front(&mut self, seq: usize) {
        /// Behind every position that there can be.
        const NOWHERE: sys::llama_pos = sys::llama_pos::MAX - 1;
        // SAFETY: the context is valid, the sequence is its own, and no position is in the range that is to be moved.
        unsafe {
            let memory = sys::llama_get_memory(self.raw.as_ptr());
            if sys::llama_memory_can_shift(memory) {
                sys::llama_memory_seq_add(memory, seq as sys::llama_seq_id, NOWHERE, -1, 1);
            }
        }
    }

    /// A sequence has given up what it had behind its first `n_past` tokens: cells of its own that others hold too are
    /// counted as theirs from now on.
    fn hand_over(&mut self, seq: usize, before: Sequence, n_past: usize) {
        let heirs = || 0..self.sequences.len();
        let shares = |other: &usize| {
            let Sequence { n_shared, owner, .. } = self.sequences[*other];
            *other != seq && owner == seq && n_shared > n_past
        };
        let Some(heir) = heirs().filter(shares).max_by_key(|&other| self.sequences[other].n_shared) else { return };
        let others: Vec<_> = heirs().filter(shares).filter(|&other| other != heir).collect();
        // What was another's before stays so.
        let n_kept = n_past.max(before.n_shared.min(self.sequences[heir].n_shared));
        let owner = if n_kept > n_past { before.owner } else { seq };
        (self.sequences[heir].n_shared, self.sequences[heir].owner) = (n_kept, owner);
        for other in others {
            self.sequences[other].owner = heir;
        }
    }

    /// Makes sequence `to` hold what `from` holds: in the same cells where all sequences share them, else in copies.
    pub fn copy(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        self.roll_back(to, 0);
        // SAFETY: the context is valid, both sequences are its own, and all of one is copied.
        unsafe {
            let memory = sys::llama_get_memory(self.raw.as_ptr());
            sys::llama_memory_seq_cp(memory, from as sys::llama_seq_id, to as sys::llama_seq_id, -1, -1);
        }
        let n_past = self.n_past(from);
        let n_shared = if self.n_shared_cells.is_some() { n_past } else { 0 };
        self.sequences[to] = Sequence { n_past, n_shared, owner: from, ..self.sequences[to] };
    }
}

/// Whether a decode of these sequences is to be broken off.
type Breaks = Box<dyn FnMut(&[usize]) -> bool + Send>;

/// Ends decodes midway.
struct Breaker {
    breaks: Breaks,
    now: AtomicBool,
}

impl std::fmt::Debug for Breaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Breaker").field("now", &self.now).finish_non_exhaustive()
    }
}

unsafe extern "C" fn is_broken_off(now: *mut c_void) -> bool {
    // SAFETY: `now` is the flag that `break_where` keeps for the context.
    unsafe { &*now.cast::<AtomicBool>() }.load(Ordering::Relaxed)
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the pointer came from llama_init_from_model, and its model is still held.
        unsafe { sys::llama_free(self.raw.as_ptr()) };
    }
}
