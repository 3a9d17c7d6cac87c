//! The kernels within a ggml: products of its CPU backend, computed by ours.
//!
//! ggml asks every "extra buffer type" of its CPU backend, before it computes an operation, whether that would rather do it:
//! so its repacked weights work. We stand in front of one of them and take products of weights that lie as their file has
//! them, in a type that there are kernels for; whatever else comes is passed on. They run in ggml's own threads,
//! between its own barriers: the graph is not split, and no threads are added.
//!
//! Every result has the same bits for one column as beside others. So that rows of logits have, too, a single token's
//! attention over a long cache is not split among threads where there are heads for all of them.
//!
//! The two classes of C++ that this needs, each a table of four functions, are laid out by hand as the Itanium ABI has them
//! (every target but MSVC's). The rest goes through ggml's public interface. What is found there is compared with what that
//! interface says, and everything is left as it is where they differ.

mod abi;
mod attention;
mod product;

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use abi::{
    BufferType, ggml_backend_buft_get_device, ggml_backend_buft_name, ggml_backend_reg_by_name,
    ggml_backend_reg_dev_get, ggml_backend_reg_get_proc_address,
};
pub use abi::{ComputeParams, Tensor};
pub use attention::Attention;

use crate::Isa;

/// Instructions whose kernels are in use from now on; `None` where none fit this machine or the ggml at hand. Works once.
///
/// `attention`: ggml's `ggml_compute_forward_flash_attn_ext`, where it can be reached.
///
/// # Safety
/// The functions that ggml's headers declare are those of the ggml that computes, and `attention` is that function of it.
pub unsafe fn install(attention: Option<Attention>) -> Option<Isa> {
    static INSTALLED: OnceLock<Option<Isa>> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let isa = Isa::best()?;
        let buffer_type = extra_buffer_type()?;
        product::ISA.set(isa).ok()?;
        if let Some(attention) = attention {
            attention::GGML.set(attention).ok()?;
        }
        // SAFETY: a buffer type of ggml's that lives as long as the process. Its context is read anew for each operation,
        // and either object answers.
        unsafe {
            let context = AtomicPtr::from_ptr(&raw mut (*buffer_type).context);
            let before = context.load(Ordering::Acquire);
            let object = Box::leak(Box::new(Extra { table: &raw const EXTRA.functions, before: before.cast() }));
            context.store(ptr::from_mut(object).cast(), Ordering::Release);
        }
        Some(isa)
    })
}

/// Products of the kernels that are in use round no columns from now on, or round them again: slowly, with floats, as a yardstick
/// for the rounding. Between steps, and for the whole process.
pub fn set_exact(is_exact: bool) {
    product::IS_EXACT.store(is_exact, Ordering::Relaxed);
}

/// One of the CPU backend's, if it looks as we think.
fn extra_buffer_type() -> Option<*mut BufferType> {
    type GetExtra = unsafe extern "C" fn(*mut c_void) -> *mut *mut BufferType;
    if cfg!(target_env = "msvc") || !abi::fits() {
        return None;
    }
    // SAFETY: ggml's registry, asked as its header says. The list ends with a null pointer, and its entries are buffer
    // types, of which the name is that function's answer and the device that field's value.
    unsafe {
        let registry = ggml_backend_reg_by_name(c"CPU".as_ptr());
        if registry.is_null() {
            return None;
        }
        let device = ggml_backend_reg_dev_get(registry, 0);
        let function = ggml_backend_reg_get_proc_address(registry, c"ggml_backend_dev_get_extra_bufts".as_ptr());
        let get_extra = std::mem::transmute::<*mut c_void, Option<GetExtra>>(function)?;
        let first = *get_extra(device);
        if first.is_null() {
            return None;
        }
        let same = (*first).name.map(|name| name(first)) == Some(ggml_backend_buft_name(first))
            && (*first).device == ggml_backend_buft_get_device(first)
            && !(*first).context.is_null();
        same.then_some(first)
    }
}

/// A table of virtual functions: what stands before them, and they.
#[repr(C)]
struct Table<F> {
    offset_to_top: isize,
    type_info: *const c_void,
    functions: F,
}
// SAFETY: nothing in it is ever written.
unsafe impl<F> Sync for Table<F> {}

impl<F> Table<F> {
    const fn new(functions: F) -> Self {
        Self { offset_to_top: 0, type_info: ptr::null(), functions }
    }
}

/// `ggml::cpu::extra_buffer_type`
#[repr(C)]
struct Extra {
    table: *const ExtraFunctions,
    /// Whom we stand in front of.
    before: *mut Extra,
}

#[repr(C)]
struct ExtraFunctions {
    destructors: [extern "C" fn(*mut c_void); 2],
    supports_op: unsafe extern "C" fn(*mut Extra, *mut c_void, *const Tensor) -> bool,
    get_tensor_traits: unsafe extern "C" fn(*mut Extra, *const Tensor) -> *const Traits,
}

/// `ggml::cpu::tensor_traits`
#[repr(C)]
struct Traits {
    table: *const TraitsFunctions,
}
// SAFETY: nothing in it is ever written.
unsafe impl Sync for Traits {}

#[repr(C)]
struct TraitsFunctions {
    destructors: [extern "C" fn(*mut c_void); 2],
    work_size: extern "C" fn(*const Traits, c_int, *const Tensor, *mut usize) -> bool,
    compute_forward: unsafe extern "C" fn(*const Traits, *const ComputeParams, *mut Tensor) -> bool,
}

impl TraitsFunctions {
    const fn new(
        compute_forward: unsafe extern "C" fn(*const Traits, *const ComputeParams, *mut Tensor) -> bool,
    ) -> Self {
        Self { destructors: [never; 2], work_size, compute_forward }
    }
}

static EXTRA: Table<ExtraFunctions> =
    Table::new(ExtraFunctions { destructors: [never; 2], supports_op, get_tensor_traits });
static PRODUCT_TABLE: Table<TraitsFunctions> = Table::new(TraitsFunctions::new(product::compute));
static PRODUCT: Traits = Traits { table: &raw const PRODUCT_TABLE.functions };
static ATTENTION_TABLE: Table<TraitsFunctions> = Table::new(TraitsFunctions::new(attention::compute));
static ATTENTION: Traits = Traits { table: &raw const ATTENTION_TABLE.functions };

/// ggml keeps these objects for as long as it lives.
extern "C" fn never(_: *mut c_void) {}

/// Whether weights in the buffers of this type can be computed with: of ours there are no such buffers.
unsafe extern "C" fn supports_op(this: *mut Extra, device: *mut c_void, op: *const Tensor) -> bool {
    // SAFETY: ggml's call, passed on.
    unsafe {
        let before = (*this).before;
        ((*(*before).table).supports_op)(before, device, op)
    }
}

unsafe extern "C" fn get_tensor_traits(this: *mut Extra, op: *const Tensor) -> *const Traits {
    // SAFETY: an operation of a graph that ggml is about to compute, or ggml's call passed on.
    unsafe {
        if product::takes(&*op) {
            return &raw const PRODUCT;
        }
        if attention::takes(&*op) {
            return &raw const ATTENTION;
        }
        let before = (*this).before;
        ((*(*before).table).get_tensor_traits)(before, op)
    }
}

/// ggml reserves what its own operation would need.
extern "C" fn work_size(_: *const Traits, _: c_int, _: *const Tensor, _: *mut usize) -> bool {
    false
}
