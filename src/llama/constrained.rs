//! A form that an answer has to keep, as a llama.cpp sampler: it masks what may not come next.
//!
//! It fails closed: once the form cannot be followed any more, every candidate is masked, and [`Constrained::failure`] says why.

#![cfg_attr(not(feature = "constraint"), allow(unreachable_code, reason = "there is no constraint then"))]

use std::ffi::c_char;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::Token;
use super::table::{self, Table, state, with_state};
use crate::constraint::{Constraint, Refused};

/// A sampler of this kind that a chain owns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Constrained(NonNull<sys::llama_sampler>);

/// What the sampler's `ctx` points to.
#[derive(Clone)]
struct State {
    /// As it began, for a reset.
    beginning: Constraint,
    now: Constraint,
    failure: Option<Refused>,
}

static TABLE: Table = Table::new(sys::llama_sampler_i {
    name: Some(name),
    accept: Some(accept),
    apply: Some(apply),
    reset: Some(reset),
    clone: Some(clone),
    free: Some(table::free::<State>),
    ..table::NONE
});

impl Constrained {
    /// A new sampler, owned by the caller until a chain takes it.
    pub fn create(constraint: Constraint) -> NonNull<sys::llama_sampler> {
        with_state(&TABLE, State { beginning: constraint.clone(), now: constraint, failure: None })
    }

    /// The sampler, if it is of this kind.
    ///
    /// # Safety
    /// `sampler` is valid, and the handle does not outlive it.
    pub unsafe fn of(sampler: NonNull<sys::llama_sampler>) -> Option<Self> {
        // SAFETY: the sampler is valid.
        let iface = unsafe { (*sampler.as_ptr()).iface };
        std::ptr::eq(iface, &raw const TABLE.iface).then_some(Self(sampler))
    }

    /// Why everything is masked, if it is.
    pub fn failure(self) -> Option<Refused> {
        // SAFETY: `of` saw that it is ours, and the chain that owns it is borrowed by one thread.
        unsafe { state::<State>(self.0.as_ptr()) }.failure.clone()
    }

    /// Whether the answer may end here.
    pub fn is_complete(self) -> bool {
        // SAFETY: as above.
        unsafe { state::<State>(self.0.as_ptr()) }.now.is_complete()
    }

    /// What has to come next, as far as there is no choice.
    pub fn forced_bytes(self) -> Vec<u8> {
        // SAFETY: as above.
        unsafe { state::<State>(self.0.as_ptr()) }.now.forced_bytes()
    }

    /// Tokens that spell it, the longest ones first.
    pub fn forced(self) -> Vec<Token> {
        // SAFETY: as above.
        let state = unsafe { state::<State>(self.0.as_ptr()) };
        state.now.forced().into_iter().map(u32::cast_signed).collect()
    }
}

/// As llama.cpp calls the sampler that does the same.
unsafe extern "C" fn name(_: *const sys::llama_sampler) -> *const c_char {
    c"grammar".as_ptr()
}

unsafe extern "C" fn accept(sampler: *mut sys::llama_sampler, token: sys::llama_token) {
    // SAFETY: llama.cpp passes our sampler, to one thread at a time.
    let state = unsafe { state::<State>(sampler) };
    if let Err(refused) = state.now.accept(token.cast_unsigned()) {
        state.failure.get_or_insert(refused);
    }
}

unsafe extern "C" fn apply(sampler: *mut sys::llama_sampler, array: *mut sys::llama_token_data_array) {
    // SAFETY: llama.cpp passes our sampler, to one thread at a time, and a valid array of `size` candidates.
    let (state, array) = unsafe { (state::<State>(sampler), &mut *array) };
    if array.data.is_null() {
        return;
    }
    // SAFETY: as above.
    let candidates = unsafe { std::slice::from_raw_parts_mut(array.data, array.size) };
    let mask = match (&state.failure, state.now.mask()) {
        (None, Ok(mask)) => Some(mask),
        (None, Err(refused)) => {
            state.failure = Some(refused);
            None
        }
        (Some(_), _) => None,
    };
    for candidate in candidates {
        if !mask.is_some_and(|mask| mask.allows(candidate.id.cast_unsigned())) {
            candidate.logit = f32::NEG_INFINITY;
        }
    }
}

unsafe extern "C" fn reset(sampler: *mut sys::llama_sampler) {
    // SAFETY: llama.cpp passes our sampler, to one thread at a time.
    let state = unsafe { state::<State>(sampler) };
    (state.now, state.failure) = (state.beginning.clone(), None);
}

unsafe extern "C" fn clone(sampler: *const sys::llama_sampler) -> *mut sys::llama_sampler {
    // SAFETY: llama.cpp passes our sampler, to one thread at a time.
    with_state(&TABLE, unsafe { state::<State>(sampler) }.clone()).as_ptr()
}
