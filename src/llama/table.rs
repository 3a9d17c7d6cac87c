//! The vtable of a sampler of ours.

use std::ptr::NonNull;

use llama_cpp_sys_2::{llama_sampler, llama_sampler_i};

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
