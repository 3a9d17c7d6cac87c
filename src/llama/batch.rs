//! Tokens on their way into a context.

use llama_cpp_sys_2 as sys;

use super::Token;

/// Room for up to a lane's batch size, reused from decode to decode. All tokens are of sequence 0.
#[derive(Debug)]
pub(super) struct Batch {
    capacity: usize,
    tokens: Vec<Token>,
    pos: Vec<sys::llama_pos>,
    outputs: Vec<i8>,
}

/// Which positions of a decode put out a row of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    None,
    Last,
    All,
}

impl Batch {
    pub(super) fn new(capacity: usize) -> Self {
        let (tokens, pos, outputs) =
            (Vec::with_capacity(capacity), Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        Self { capacity, tokens, pos, outputs }
    }

    /// How many tokens fit.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Fills the batch with `tokens` at positions from `n_past` on. What comes back points into the batch.
    pub(super) fn fill(&mut self, tokens: &[Token], n_past: usize, outputs: Outputs) -> sys::llama_batch {
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
            // NULL stands for sequence 0.
            n_seq_id: std::ptr::null_mut(),
            seq_id: std::ptr::null_mut(),
            logits: self.outputs.as_mut_ptr(),
        }
    }
}
