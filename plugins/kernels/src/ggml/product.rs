//! A product of weights with columns of floats.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Traits;
use super::abi::{
    ComputeParams, HINT, HINT_NONE, MUL_MAT, NONE, Tensor, USAGE_COMPUTE, ggml_backend_buffer_get_type,
    ggml_backend_buffer_get_usage, ggml_backend_buft_is_host,
};
use crate::exact::{self, Columns};
use crate::{Activations, Isa, Kind, Matrix, Output, multiply};

pub(super) static ISA: OnceLock<Isa> = OnceLock::new();

/// Columns are not rounded.
pub(super) static IS_EXACT: AtomicBool = AtomicBool::new(false);

const FLOAT: usize = size_of::<f32>();

/// Whether an operation is a product that we compute.
pub(super) unsafe fn takes(op: &Tensor) -> bool {
    if op.op != MUL_MAT {
        return false;
    }
    // SAFETY: a product has weights and columns, and they have buffers or none.
    unsafe {
        let (weights, columns) = (&*op.src[0], &*op.src[1]);
        let Some(kind) = Kind::from_ggml(weights.kind) else { return false };
        let step = if kind.is_float() { kind.block_bytes() / kind.block_len() } else { kind.block_bytes() };
        let is_plain = weights.ne[2] == 1
            && weights.ne[3] == 1
            && (weights.ne[0] as usize).is_multiple_of(kind.block_len())
            && weights.nb[0] == step
            && (columns.kind, op.kind) == (Kind::F32.to_ggml(), Kind::F32.to_ggml())
            && op.op_params[HINT] == HINT_NONE;
        is_plain && is_in_line(columns) && is_in_line(op) && are_weights(weights)
    }
}

/// Whether a tensor is weights in main memory, as their file has them. Adapters are not marked as weights, but like them they
/// are no operation's result and no view, as a cache is.
unsafe fn are_weights(weights: &Tensor) -> bool {
    // SAFETY: buffers are asked as ggml's header says.
    unsafe {
        weights.op == NONE
            && weights.view_src.is_null()
            && !weights.buffer.is_null()
            && ggml_backend_buffer_get_usage(weights.buffer) != USAGE_COMPUTE
            && ggml_backend_buft_is_host(ggml_backend_buffer_get_type(weights.buffer))
    }
}

/// Whether the columns of all batches lie one after the other, at one distance.
fn is_in_line(t: &Tensor) -> bool {
    t.nb[0] == FLOAT
        && t.nb[1].is_multiple_of(FLOAT)
        && (t.ne[2] == 1 || t.nb[2] == t.nb[1] * t.ne[1] as usize)
        && (t.ne[3] == 1 || t.nb[3] == t.nb[2] * t.ne[2] as usize)
}

thread_local! {
    /// Columns in 8 bits. Every thread makes them for itself, which takes less time than waiting for one another.
    static ACTIVATIONS: RefCell<Activations> = RefCell::default();
}

/// Computes a thread's share of a product that [`takes`] said yes to; `false` leaves it to ggml.
pub(super) unsafe extern "C" fn compute(_: *const Traits, params: *const ComputeParams, op: *mut Tensor) -> bool {
    // SAFETY: ggml calls this in each of its threads between two barriers. The sources are not written meanwhile, and each
    // thread writes other rows.
    unsafe {
        let (params, op, Some(&isa)) = (&*params, &*op, ISA.get()) else { return false };
        let (weights, columns) = (&*op.src[0], &*op.src[1]);
        let Some(kind) = Kind::from_ggml(weights.kind) else { return false };
        let [n, n_rows] = [weights.ne[0] as usize, weights.ne[1] as usize];
        let n_columns = (columns.ne[1] * columns.ne[2] * columns.ne[3]) as usize;
        if params.use_ref || n_rows == 0 || n_columns == 0 {
            return false;
        }
        let (ith, nth) = (params.ith as usize, params.nth as usize);
        let n_panels = n_rows.div_ceil(isa.rows());
        let until = |thread: usize| (n_panels * thread / nth * isa.rows()).min(n_rows);
        let row_bytes = weights.nb[1];
        let n_bytes = row_bytes * (n_rows - 1) + kind.row_bytes(n);
        let data = std::slice::from_raw_parts(weights.data.cast::<u8>(), n_bytes);
        let stride = columns.nb[1] / FLOAT;
        let values = std::slice::from_raw_parts(columns.data.cast::<f32>(), stride * (n_columns - 1) + n);
        let to = Output { at: op.data.cast(), stride: op.nb[1] / FLOAT };
        let (matrix, rows) = (Matrix { kind, data, stride: row_bytes, n_rows }, until(ith)..until(ith + 1));
        if IS_EXACT.load(Ordering::Relaxed) {
            exact::multiply(matrix, rows, Columns { values, n, stride, n_columns }, to);
            return true;
        }
        ACTIVATIONS.with_borrow_mut(|activations| {
            activations.quantise(kind, values, n, stride, n_columns);
            multiply(Some(isa), matrix, rows, activations, to);
        });
        true
    }
}
