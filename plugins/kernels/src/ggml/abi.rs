//! ggml's structures and functions, as far as they are needed, and whether a library's are these.
//!
//! The kernels are linked to nothing: whoever uses them brings a ggml, whose version may be another than the one that these
//! structures were written after. So [`fits`] has it make a tensor and a product, and looks whether what it made reads as
//! it should.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

use crate::kind::Kind;

/// `GGML_OP_NONE`, `GGML_OP_MUL_MAT`, `GGML_OP_FLASH_ATTN_EXT`
pub(crate) const NONE: c_uint = 0;
pub(crate) const MUL_MAT: c_uint = 29;
pub(crate) const FLASH_ATTN_EXT: c_uint = 74;
/// `GGML_BACKEND_BUFFER_USAGE_COMPUTE`
pub(crate) const USAGE_COMPUTE: c_uint = 2;
/// The operation parameter that holds a hint, and `GGML_HINT_NONE`.
pub(crate) const HINT: usize = 1;
pub(crate) const HINT_NONE: i32 = 0;

/// `ggml_tensor`
#[repr(C)]
pub struct Tensor {
    pub kind: c_uint,
    pub buffer: *mut c_void,
    pub ne: [i64; 4],
    pub nb: [usize; 4],
    pub op: c_uint,
    pub op_params: [i32; 16],
    pub flags: i32,
    pub src: [*mut Tensor; 10],
    pub view_src: *mut Tensor,
    pub view_offs: usize,
    pub data: *mut c_void,
    pub name: [c_char; 64],
    pub extra: *mut c_void,
    pub padding: [c_char; 8],
}

/// `ggml_backend_buffer_type`
#[repr(C)]
pub(crate) struct BufferType {
    pub name: Option<unsafe extern "C" fn(*mut BufferType) -> *const c_char>,
    pub functions: [Option<unsafe extern "C" fn()>; 7],
    pub device: *mut c_void,
    pub context: *mut c_void,
}

/// `ggml_compute_params`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ComputeParams {
    pub ith: c_int,
    pub nth: c_int,
    pub wsize: usize,
    pub wdata: *mut c_void,
    pub threadpool: *mut c_void,
    pub use_ref: bool,
}

#[repr(C)]
pub(crate) struct InitParams {
    pub mem_size: usize,
    pub mem_buffer: *mut c_void,
    pub no_alloc: bool,
}

unsafe extern "C" {
    pub(crate) fn ggml_init(params: InitParams) -> *mut c_void;
    pub(crate) fn ggml_free(context: *mut c_void);
    pub(crate) fn ggml_tensor_overhead() -> usize;
    pub(crate) fn ggml_new_tensor_2d(context: *mut c_void, kind: c_uint, ne0: i64, ne1: i64) -> *mut Tensor;
    pub(crate) fn ggml_mul_mat(context: *mut c_void, a: *mut Tensor, b: *mut Tensor) -> *mut Tensor;
    pub(crate) fn ggml_set_name(tensor: *mut Tensor, name: *const c_char) -> *mut Tensor;
    pub(crate) fn ggml_op_name(op: c_uint) -> *const c_char;
    pub(crate) fn ggml_type_name(kind: c_uint) -> *const c_char;
    pub(crate) fn ggml_backend_reg_by_name(name: *const c_char) -> *mut c_void;
    pub(crate) fn ggml_backend_reg_dev_get(registry: *mut c_void, index: usize) -> *mut c_void;
    pub(crate) fn ggml_backend_reg_get_proc_address(registry: *mut c_void, name: *const c_char) -> *mut c_void;
    pub(crate) fn ggml_backend_buft_name(kind: *mut BufferType) -> *const c_char;
    pub(crate) fn ggml_backend_buft_get_device(kind: *mut BufferType) -> *mut c_void;
    pub(crate) fn ggml_backend_buft_is_host(kind: *mut BufferType) -> bool;
    pub(crate) fn ggml_backend_buffer_get_type(buffer: *mut c_void) -> *mut BufferType;
    pub(crate) fn ggml_backend_buffer_get_usage(buffer: *mut c_void) -> c_uint;
}

/// Whether the ggml at hand has these structures and numbers.
pub(crate) fn fits() -> bool {
    // SAFETY: names for numbers are asked for, a context without data is made and given back, and what lies in it is read
    // only as far as ggml says that a tensor goes.
    unsafe {
        let is = |name: *const c_char, expected: &str| {
            !name.is_null() && CStr::from_ptr(name).to_bytes() == expected.as_bytes()
        };
        let knows = is(ggml_op_name(NONE), "NONE")
            && is(ggml_op_name(MUL_MAT), "MUL_MAT")
            && is(ggml_op_name(FLASH_ATTN_EXT), "FLASH_ATTN_EXT")
            && Kind::ALL.iter().all(|kind| is(ggml_type_name(kind.to_ggml()), kind.name()));
        // An object's header of four words stands before a tensor.
        if !knows || ggml_tensor_overhead() != size_of::<Tensor>() + 4 * size_of::<usize>() {
            return false;
        }
        let mem_size = 8 * ggml_tensor_overhead();
        let context = ggml_init(InitParams { mem_size, mem_buffer: ptr::null_mut(), no_alloc: true });
        if context.is_null() {
            return false;
        }
        let kind = Kind::Q4K;
        let (n, n_rows, n_columns) = (512, 3, 5);
        let weights = ggml_new_tensor_2d(context, kind.to_ggml(), n, n_rows);
        let columns = ggml_new_tensor_2d(context, Kind::F32.to_ggml(), n, n_columns);
        let product = ggml_mul_mat(context, weights, columns);
        ggml_set_name(weights, c"weights".as_ptr());
        let (w, x, p) = (&*weights, &*columns, &*product);
        let row = kind.row_bytes(n as usize);
        let reads = w.kind == kind.to_ggml()
            && (w.ne, w.nb) == ([n, n_rows, 1, 1], [kind.block_bytes(), row, 3 * row, 3 * row])
            && (w.op, w.view_src, w.data, w.buffer) == (NONE, ptr::null_mut(), ptr::null_mut(), ptr::null_mut())
            && is(w.name.as_ptr(), "weights")
            && (x.kind, x.nb[..2] == [4, 4 * n as usize]) == (Kind::F32.to_ggml(), true)
            && (p.kind, p.op, p.op_params[HINT]) == (Kind::F32.to_ggml(), MUL_MAT, HINT_NONE)
            && (p.ne, p.src[..3] == [weights, columns, ptr::null_mut()]) == ([n_rows, n_columns, 1, 1], true);
        ggml_free(context);
        reads
    }
}
