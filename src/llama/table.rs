//! The vtable of a sampler of ours.

use std::ffi::c_void;
use std::ptr::NonNull;

use llama_cpp_sys_2::{llama_sampler, llama_sampler_i, llama_sampler_init};

/// Slots behind those that this version of llama.cpp has, up to 32.
const N_LATER: usize = 32 - size_of::<llama_sampler_i>() / size_of::<usize>();

/// No function at all: nothing of a sampler of ours runs on a device.
pub(super) const NONE: llama_sampler_i = llama_sampler_i {
    name: None,
    accept: None,
    apply: None,
    reset: None,
    clone: None,
    free: None,
    backend_init: None,
    backend_accept: None,
    backend_apply: None,
    backend_set_input: None,
    backend_reset: None,
    copy_state: None,
};

/// Hosts built against a later llama.cpp read slots that this one does not know: they find NULL.
#[repr(C)]
pub(super) struct Table {
    pub iface: llama_sampler_i,
    pub later: [usize; N_LATER],
}

impl Table {
    pub(super) const fn new(iface: llama_sampler_i) -> Self {
        Self { iface, later: [0; N_LATER] }
    }
}

/// A sampler that llama.cpp made: its `new` gives memory or ends the process.
pub(super) fn allocated(raw: *mut llama_sampler) -> NonNull<llama_sampler> {
    match NonNull::new(raw) {
        Some(raw) => raw,
        None => unreachable!("llama.cpp returned no sampler"),
    }
}

/// A sampler with a state, owned by the caller until a chain takes it. The table's functions are for that state.
pub(super) fn with_state<T>(table: &'static Table, state: T) -> NonNull<llama_sampler> {
    let state: *mut c_void = Box::into_raw(Box::new(state)).cast();
    // SAFETY: the table is static and never written to; the box belongs to the sampler until `free`.
    allocated(unsafe { llama_sampler_init((&raw const table.iface).cast_mut(), state) })
}

/// The state of a sampler.
///
/// # Safety
/// The sampler is of [`with_state`] with a state of this type, and nobody else uses that.
pub(super) unsafe fn state<'a, T>(sampler: *const llama_sampler) -> &'a mut T {
    // SAFETY: `ctx` is the box that `with_state` made.
    unsafe { &mut *(*sampler).ctx.cast::<T>() }
}

/// Frees the state only: llama.cpp deletes the shell.
///
/// # Safety
/// As of [`state`], once.
pub(super) unsafe extern "C" fn free<T>(sampler: *mut llama_sampler) {
    // SAFETY: `ctx` is the box that `with_state` made, and llama.cpp frees a sampler once.
    drop(unsafe { Box::from_raw((*sampler).ctx.cast::<T>()) });
}
