//! A single token's attention over a long cache.
//!
//! ggml splits the cache among its threads then, from 512 cells on, and adds the parts up in another order than it does
//! for several tokens.

use std::sync::OnceLock;

use super::Traits;
use super::abi::{ComputeParams, FLASH_ATTN_EXT, Tensor};

/// `ggml_compute_forward_flash_attn_ext`, which all threads call.
pub type Attention = unsafe extern "C" fn(*const ComputeParams, *mut Tensor);

pub(super) static GGML: OnceLock<Attention> = OnceLock::new();

/// From so many cells on ggml splits.
const SPLIT: i64 = 512;

/// Whether ggml would split an operation.
pub(super) unsafe fn takes(op: &Tensor) -> bool {
    if op.op != FLASH_ATTN_EXT || GGML.get().is_none() {
        return false;
    }
    // SAFETY: attention has queries and keys.
    unsafe {
        let (queries, keys) = (&*op.src[0], &*op.src[1]);
        queries.ne[1] == 1 && queries.ne[3] == 1 && keys.ne[1] >= SPLIT
    }
}

/// Head by head, as for several tokens; `false` where there are fewer heads than threads.
pub(super) unsafe extern "C" fn compute(_: *const Traits, params: *const ComputeParams, op: *mut Tensor) -> bool {
    // SAFETY: ggml calls this as it would call its own function.
    unsafe {
        let (params, Some(ggml)) = (&*params, GGML.get()) else { return false };
        let n_heads = (*(*op).src[0]).ne[2];
        if n_heads < i64::from(params.nth) {
            return false;
        }
        // The reference does not split, and is for one token the very path that several take.
        ggml(&ComputeParams { use_ref: true, ..*params }, op);
        true
    }
}
