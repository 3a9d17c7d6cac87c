//! Proxy-tuning as a llama.cpp sampler: a real `llama_sampler` with a real vtable, for any place in a chain.
//!
//! `apply` adds `Σ α·(expert − antiexpert)` to the candidates by their token ids, whatever earlier samplers have
//! sorted, masked or dropped. Before that it drops those that are not plausible to the base, if it is asked to. It depends only on the rows it was lent and on the array that comes in: two fresh
//! copies of a row give the same result. The rows are lent for the length of one `apply` of the chain.
//!
//! A failure is sticky: the array is left as it came in, and the chain tells it until it is reset.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use crate::arithmetic::offset::{self, Term};
use crate::arithmetic::plausibility;

/// What the stage calls itself in a chain.
pub const NAME: &std::ffi::CStr = c"proxy-tuning";

/// Why a stage stopped working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    #[error("the proxy-tuning stage was applied without rows of the small models")]
    NoRows,
    #[error("the offset of token {id} is not finite: the expert's or antiexpert's logits are damaged")]
    NotFinite { id: usize },
    #[error("the proxy-tuning stage panicked")]
    Panicked,
}

/// A stage inside a chain that owns it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage(NonNull<sys::llama_sampler>);

/// What the sampler's `ctx` points to.
#[derive(Debug, Default)]
struct Context {
    /// The rows of the position that is being sampled; only while they are lent.
    terms: Option<NonNull<[Term<'static>]>>,
    /// τ of the plausibility cut; 0 cuts nothing.
    plausibility: f32,
    failure: Option<Failure>,
}

/// Keeps rows lent to a stage; takes them back when dropped.
pub(super) struct Lent<'a> {
    stage: Stage,
    _rows: std::marker::PhantomData<&'a ()>,
}

impl Stage {
    /// A new sampler, owned by the caller until a chain takes it.
    pub(super) fn create(plausibility: f32) -> NonNull<sys::llama_sampler> {
        create(Context { plausibility, ..Context::default() })
    }

    /// The stage behind a sampler, if it is one.
    ///
    /// # Safety
    /// `sampler` is a valid sampler and stays so for as long as the result is used.
    pub(super) unsafe fn of(sampler: NonNull<sys::llama_sampler>) -> Option<Self> {
        // SAFETY: the sampler is valid.
        let is_ours = std::ptr::eq(unsafe { sampler.as_ref() }.iface, &raw const TABLE.iface);
        is_ours.then_some(Self(sampler))
    }

    /// Lends the rows of one position until the result is dropped.
    pub(super) fn lend<'a>(self, terms: &'a [Term<'a>]) -> Lent<'a> {
        let terms = NonNull::from(terms);
        // SAFETY: only the lifetime changes; `Lent` ends the loan before 'a does.
        let terms = unsafe { std::mem::transmute::<NonNull<[Term<'a>]>, NonNull<[Term<'static>]>>(terms) };
        self.context().terms = Some(terms);
        Lent { stage: self, _rows: std::marker::PhantomData }
    }

    pub(super) fn failure(self) -> Option<Failure> {
        self.context().failure
    }

    #[allow(clippy::mut_from_ref, reason = "a Stage is a pointer; see SAFETY")]
    fn context<'a>(self) -> &'a mut Context {
        // SAFETY: `of` found our vtable, so `ctx` is our box; its chain is used by one thread at a time, and no
        // reference outlives the method that asked for it.
        unsafe { &mut *self.0.as_ref().ctx.cast::<Context>() }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.stage.context().terms = None;
    }
}

fn create(context: Context) -> NonNull<sys::llama_sampler> {
    let context: *mut c_void = Box::into_raw(Box::new(context)).cast();
    // SAFETY: the table is static and never written to; the box belongs to the sampler until `free`.
    let sampler = unsafe { sys::llama_sampler_init((&raw const TABLE.iface).cast_mut(), context) };
    NonNull::new(sampler).expect("llama_sampler_init allocates or throws")
}

/// Slots behind those that this version of llama.cpp has, up to 32.
const N_LATER: usize = 32 - size_of::<sys::llama_sampler_i>() / size_of::<usize>();

/// The vtable. Hosts built against a later llama.cpp read slots that this one does not know: they find NULL.
#[repr(C)]
struct Table {
    iface: sys::llama_sampler_i,
    later: [usize; N_LATER],
}

static TABLE: Table = Table {
    iface: sys::llama_sampler_i {
        name: Some(name),
        accept: Some(accept),
        apply: Some(apply),
        reset: Some(reset),
        clone: Some(clone),
        free: Some(free),
        backend_init: None,
        backend_accept: None,
        backend_apply: None,
        backend_set_input: None,
        backend_reset: None,
        copy_state: None,
    },
    later: [0; N_LATER],
};

/// # Safety
/// `sampler` is ours and nobody else uses its context meanwhile.
unsafe fn context<'a>(sampler: *const sys::llama_sampler) -> &'a mut Context {
    // SAFETY: `ctx` is the box that `create` made.
    unsafe { &mut *(*sampler).ctx.cast::<Context>() }
}

unsafe extern "C" fn name(_: *const sys::llama_sampler) -> *const c_char {
    NAME.as_ptr()
}

/// Nothing to do: rows are lent for one position only, so there is none to move on from.
unsafe extern "C" fn accept(_: *mut sys::llama_sampler, _: sys::llama_token) {}

unsafe extern "C" fn apply(sampler: *mut sys::llama_sampler, array: *mut sys::llama_token_data_array) {
    // SAFETY: llama.cpp passes our sampler and a valid array, and waits for the call to end.
    let (context, array) = unsafe { (context(sampler), &mut *array) };
    let applied = catch_unwind(AssertUnwindSafe(|| {
        let terms = context.terms.ok_or(Failure::NoRows)?;
        // SAFETY: lent, see `Stage::lend`.
        let terms = unsafe { terms.as_ref() };
        if array.size == 0 || array.data.is_null() {
            return Ok(());
        }
        // SAFETY: the array holds `size` candidates.
        let candidates = unsafe { std::slice::from_raw_parts_mut(array.data, array.size) };
        let not_finite = |error: offset::NotFinite| Failure::NotFinite { id: error.id };
        let mut n_kept = candidates.len();
        if context.plausibility > 0.0 {
            // A failure leaves the array as it came in, so it must show before anything is dropped.
            offset::check_by_id(candidates, terms).map_err(not_finite)?;
            n_kept = plausibility::keep(candidates, context.plausibility);
        }
        offset::add_by_id(&mut candidates[..n_kept], terms).map_err(not_finite)?;
        array.size = n_kept;
        array.sorted = false;
        Ok(())
    }));
    if let Err(failure) = applied.unwrap_or(Err(Failure::Panicked)) {
        context.failure.get_or_insert(failure);
    }
}

unsafe extern "C" fn reset(sampler: *mut sys::llama_sampler) {
    // SAFETY: llama.cpp passes our sampler.
    unsafe { context(sampler) }.failure = None;
}

/// A failed stage stays failed in its copy; rows are never shared.
unsafe extern "C" fn clone(sampler: *const sys::llama_sampler) -> *mut sys::llama_sampler {
    // SAFETY: llama.cpp passes our sampler.
    let &mut Context { plausibility, failure, .. } = unsafe { context(sampler) };
    catch_unwind(|| create(Context { terms: None, plausibility, failure }).as_ptr()).unwrap_or(std::ptr::null_mut())
}

/// Frees the context only: llama.cpp deletes the shell.
unsafe extern "C" fn free(sampler: *mut sys::llama_sampler) {
    // SAFETY: `ctx` is the box that `create` made, and llama.cpp frees a sampler once.
    let context = unsafe { Box::from_raw((*sampler).ctx.cast::<Context>()) };
    let _ = catch_unwind(AssertUnwindSafe(move || drop(context)));
}

#[cfg(test)]
mod tests;
