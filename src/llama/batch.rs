//! Tokens on their way into a context.

use llama_cpp_sys_2 as sys;

use super::Token;

/// Room for up to a lane's batch size, reused from decode to decode. One sequence, id 0.
#[derive(Debug)]
pub(super) struct Batch {
    tokens: Vec<Token>,
    pos: Vec<sys::llama_pos>,
    n_seq_id: Vec<i32>,
    seq_ids: Vec<*mut sys::llama_seq_id>,
    outputs: Vec<i8>,
    /// What every entry of `seq_ids` points to; boxed so that it stays where it is.
    _seq_id: Box<sys::llama_seq_id>,
}

// SAFETY: the pointers lead into the batch's own box and are only read through it.
unsafe impl Send for Batch {}

/// Which positions of a decode put out a row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    None,
    Last,
    All,
}

impl Batch {
    pub(super) fn new(n_batch: usize) -> Self {
        let mut seq_id = Box::new(0);
        let pointer: *mut sys::llama_seq_id = &raw mut *seq_id;
        Self {
            tokens: Vec::with_capacity(n_batch),
            pos: Vec::with_capacity(n_batch),
            n_seq_id: vec![1; n_batch],
            seq_ids: vec![pointer; n_batch],
            outputs: Vec::with_capacity(n_batch),
            _seq_id: seq_id,
        }
    }

    /// How many tokens fit.
    pub(super) fn capacity(&self) -> usize {
        self.seq_ids.len()
    }

    /// Fills the batch with `tokens` at positions from `n_past` on; at most [`Self::capacity`] of them.
    pub(super) fn fill(&mut self, tokens: &[Token], n_past: usize, outputs: Outputs) -> sys::llama_batch {
        debug_assert!(tokens.len() <= self.capacity());
        self.tokens.clear();
        self.tokens.extend_from_slice(tokens);
        self.pos.clear();
        self.pos.extend((n_past..n_past + tokens.len()).map(|pos| pos as sys::llama_pos));
        self.outputs.clear();
        self.outputs.resize(tokens.len(), i8::from(outputs == Outputs::All));
        if let (Outputs::Last, Some(last)) = (outputs, self.outputs.last_mut()) {
            *last = 1;
        }
        sys::llama_batch {
            n_tokens: tokens.len() as i32,
            token: self.tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: self.pos.as_mut_ptr(),
            n_seq_id: self.n_seq_id.as_mut_ptr(),
            seq_id: self.seq_ids.as_mut_ptr(),
            logits: self.outputs.as_mut_ptr(),
        }
    }
}
