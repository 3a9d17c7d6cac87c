//! Tokens on their way into a context.

use llama_cpp_sys_2 as sys;

use super::Token;

/// What one sequence is to decode.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    pub seq: usize,
    pub tokens: &'a [Token],
    pub outputs: Outputs,
}

/// Which positions of a part put out a row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    None,
    Last,
    All,
    /// All of them, of a prompt: the time counts as the prompt's.
    Scored,
}

impl Part<'_> {
    /// How many rows it puts out, and the first one's place among its tokens.
    #[must_use]
    pub fn rows(&self) -> (usize, usize) {
        match self.outputs {
            Outputs::None => (0, 0),
            Outputs::Last => (1, self.tokens.len() - 1),
            Outputs::All | Outputs::Scored => (self.tokens.len(), 0),
        }
    }
}

/// Room for up to a context's batch size, reused from decode to decode.
#[derive(Debug)]
pub(super) struct Batch {
    capacity: usize,
    tokens: Vec<Token>,
    pos: Vec<sys::llama_pos>,
    n_seq_id: Vec<i32>,
    /// Each token's list of sequences: one entry of `ids`.
    seq_id: Vec<*mut sys::llama_seq_id>,
    outputs: Vec<i8>,
    /// 0, 1, …: what `seq_id` points into; never changed.
    ids: Box<[sys::llama_seq_id]>,
}

impl Batch {
    pub(super) fn new(capacity: usize, n_seq: usize) -> Self {
        Self {
            capacity,
            tokens: Vec::with_capacity(capacity),
            pos: Vec::with_capacity(capacity),
            n_seq_id: vec![1; capacity],
            seq_id: Vec::with_capacity(capacity),
            outputs: Vec::with_capacity(capacity),
            ids: (0..n_seq as sys::llama_seq_id).collect(),
        }
    }

    /// How many tokens fit.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.pos.clear();
        self.seq_id.clear();
        self.outputs.clear();
    }

    /// Adds a part behind those that are in, at positions from `n_past` on.
    pub(super) fn add(&mut self, part: &Part<'_>, n_past: usize) {
        let n = part.tokens.len();
        let (n_rows, first) = part.rows();
        self.tokens.extend_from_slice(part.tokens);
        self.pos.extend((n_past..n_past + n).map(|pos| pos as sys::llama_pos));
        let id = &raw mut self.ids[part.seq];
        self.seq_id.extend(std::iter::repeat_n(id, n));
        self.outputs.extend((0..n).map(|i| i8::from((first..first + n_rows).contains(&i))));
    }

    /// What llama.cpp is given. It points into this batch.
    pub(super) fn raw(&mut self) -> sys::llama_batch {
        sys::llama_batch {
            n_tokens: self.tokens.len() as i32,
            token: self.tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: self.pos.as_mut_ptr(),
            n_seq_id: self.n_seq_id.as_mut_ptr(),
            seq_id: self.seq_id.as_mut_ptr(),
            logits: self.outputs.as_mut_ptr(),
        }
    }
}
