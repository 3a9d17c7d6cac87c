//! llama.cpp's own chain, and who owns what in it.

use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::Token;
use super::table::allocated;

/// A `llama_sampler_chain` and the samplers it owns.
#[derive(Debug)]
pub(super) struct RawChain(NonNull<sys::llama_sampler>);

impl RawChain {
    pub fn new() -> Self {
        // SAFETY: the parameters are llama.cpp's own.
        Self(allocated(unsafe {
            let mut params = sys::llama_sampler_chain_default_params();
            params.no_perf = true;
            sys::llama_sampler_chain_init(params)
        }))
    }

    /// Hands a sampler over to the chain.
    pub fn add(&mut self, sampler: *mut sys::llama_sampler) {
        // SAFETY: llama.cpp's constructors return a sampler nobody owns, or throw; the chain takes it.
        unsafe { sys::llama_sampler_chain_add(self.0.as_ptr(), sampler) };
    }

    /// Takes a sampler out of the chain and frees it.
    pub fn remove(&mut self, i: i32) {
        // SAFETY: the chain is valid; what it gives out is a sampler that nobody else owns, or NULL, which is not freed.
        unsafe { sys::llama_sampler_free(sys::llama_sampler_chain_remove(self.0.as_ptr(), i)) };
    }

    pub fn len(&self) -> i32 {
        // SAFETY: the chain is valid.
        unsafe { sys::llama_sampler_chain_n(self.0.as_ptr()) }
    }

    pub fn samplers(&self) -> impl Iterator<Item = NonNull<sys::llama_sampler>> {
        // SAFETY: the chain is valid and the index in range.
        (0..self.len()).filter_map(|i| NonNull::new(unsafe { sys::llama_sampler_chain_get(self.0.as_ptr(), i) }))
    }

    pub fn apply(&mut self, array: &mut sys::llama_token_data_array) {
        // SAFETY: chain and array are valid.
        unsafe { sys::llama_sampler_apply(self.0.as_ptr(), array) };
    }

    /// Whether every sampler took the token, which is in the vocabulary.
    pub fn accept(&mut self, token: Token) -> bool {
        // SAFETY: the chain is valid; the wrapper catches what the grammar throws.
        unsafe { sys::llama_rs_sampler_accept(self.0.as_ptr(), token) == sys::LLAMA_RS_STATUS_OK }
    }

    pub fn reset(&mut self) {
        // SAFETY: the chain is valid.
        unsafe { sys::llama_sampler_reset(self.0.as_ptr()) };
    }

    pub fn duplicate(&self) -> Self {
        // SAFETY: the chain is valid, and each of its samplers can be cloned.
        Self(allocated(unsafe { sys::llama_sampler_clone(self.0.as_ptr()) }))
    }
}

impl Drop for RawChain {
    fn drop(&mut self) {
        // SAFETY: the chain is ours; it frees its samplers.
        unsafe { sys::llama_sampler_free(self.0.as_ptr()) };
    }
}
