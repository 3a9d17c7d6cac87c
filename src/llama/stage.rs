//! Proxy-tuning as a llama.cpp sampler: a real `llama_sampler` with a real vtable, for any place in a chain.
//!
//! `apply` adds `Σ α·(expert − antiexpert)` to the candidates by their token ids, whatever earlier samplers have
//! sorted, masked or dropped. Before that it drops those that are not plausible to the base, if it is asked to. It depends only on the rows of the position and on the array that comes in: two fresh
//! copies of a row give the same result.
//!
//! Rows come in one of two ways. The engine lends them for the length of one `apply` of the chain. A plugin's host
//! knows nothing but the sampler, so that stage has a [`Source`]: it hears of accepted tokens and is asked for rows.
//!
//! A failure is sticky: the array is left as it came in, and the chain tells it until it is reset.

use std::any::Any;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use llama_cpp_sys_2 as sys;

use super::Token;
use super::table::{self, Table};
use crate::arithmetic::offset::{self, Term};
use crate::arithmetic::plausibility;

/// What the stage calls itself in a chain.
pub const NAME: &std::ffi::CStr = c"proxy-tuning";

/// llama.cpp's sampler: a vtable and a context.
pub type Sampler = sys::llama_sampler;

/// `llama_sampler_init`. A sampler's shell is deleted by the library that owns the chain, so it has to come from it.
pub type Init = unsafe extern "C" fn(*mut sys::llama_sampler_i, *mut c_void) -> *mut Sampler;

/// Why a stage stopped working.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    #[error("the proxy-tuning stage was applied without rows of the small models")]
    NoRows,
    #[error("the offset of token {id} is not finite: the expert's or antiexpert's logits are damaged")]
    NotFinite { id: usize },
    #[error("the proxy-tuning stage was used by two threads at once")]
    Contended,
    #[error("the proxy-tuning stage panicked")]
    Panicked,
    /// What a [`Source`] says.
    #[error("{0}")]
    Source(Arc<str>),
}

/// Where a stage's rows come from when nobody lends them.
pub trait Source: Any + Send {
    /// The text goes on by this token. What is wrong with it shows when rows are asked for.
    fn accept(&mut self, token: Token);

    /// Hands the rows of the position to `add`; waits for them if it has to. The same rows until the text changes.
    fn rows(&mut self, add: &mut dyn FnMut(&[Term<'_>]) -> Result<(), Failure>) -> Result<(), Failure>;

    /// Forgets the text.
    fn reset(&mut self);

    /// A copy that shares nothing that changes, and why it cannot be used, if it cannot.
    fn copy(&mut self) -> (Box<dyn Source>, Option<Failure>);
}

/// A sampler that is a stage, owned by a chain or a host.
#[derive(Debug, Clone, Copy)]
pub struct Stage(NonNull<Sampler>);

/// What the sampler's `ctx` points to.
struct Context {
    state: Mutex<State>,
    /// Somebody came while another thread was inside.
    contended: AtomicBool,
}

struct State {
    rows: Rows,
    /// τ of the plausibility cut; 0 cuts nothing.
    plausibility: f32,
    failure: Option<Failure>,
    init: Init,
}

enum Rows {
    /// Of the position that is being sampled; only while they are lent.
    Lent(Option<NonNull<[Term<'static>]>>),
    Pulled(Box<dyn Source>),
}

/// Keeps rows lent to a stage; takes them back when dropped.
pub(super) struct Lent<'a> {
    stage: Stage,
    _rows: std::marker::PhantomData<&'a ()>,
}

impl Stage {
    /// A new sampler that rows are lent to, owned by the caller until a chain takes it.
    pub(super) fn create(plausibility: f32) -> NonNull<Sampler> {
        let init = sys::llama_sampler_init;
        let state = State { rows: Rows::Lent(None), plausibility, failure: None, init };
        // SAFETY: it is llama.cpp's own.
        unsafe { create(state) }.expect("llama_sampler_init allocates or throws")
    }

    /// A new sampler that asks `source` for its rows, owned by the caller; `None` where `init` gives none.
    ///
    /// # Safety
    /// `init` is `llama_sampler_init` of the llama.cpp that the sampler will be freed by.
    #[must_use]
    pub unsafe fn pulling(source: Box<dyn Source>, plausibility: f32, init: Init) -> Option<NonNull<Sampler>> {
        let state = State { rows: Rows::Pulled(source), plausibility, failure: None, init };
        // SAFETY: as the caller promises.
        unsafe { create(state) }
    }

    /// The stage behind a sampler, if it is one.
    ///
    /// # Safety
    /// `sampler` is a valid sampler and stays so for as long as the result is used.
    #[must_use]
    pub unsafe fn of(sampler: NonNull<Sampler>) -> Option<Self> {
        // SAFETY: the sampler is valid.
        let is_ours = std::ptr::eq(unsafe { sampler.as_ref() }.iface, &raw const TABLE.iface);
        is_ours.then_some(Self(sampler))
    }

    /// Lends the rows of one position until the result is dropped.
    pub(super) fn lend<'a>(self, terms: &'a [Term<'a>]) -> Lent<'a> {
        let terms = NonNull::from(terms);
        // SAFETY: only the lifetime changes; `Lent` ends the loan before 'a does.
        let terms = unsafe { std::mem::transmute::<NonNull<[Term<'a>]>, NonNull<[Term<'static>]>>(terms) };
        self.set_lent(Some(terms));
        Lent { stage: self, _rows: std::marker::PhantomData }
    }

    fn set_lent(self, terms: Option<NonNull<[Term<'static>]>>) {
        let mut state = self.context().state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Rows::Lent(lent) = &mut state.rows {
            *lent = terms;
        }
    }

    /// Why it does not work; [`Failure::Contended`] while another thread is inside.
    #[must_use]
    pub fn failure(self) -> Option<Failure> {
        let context = self.context();
        match context.state.try_lock() {
            Err(TryLockError::WouldBlock) => Some(Failure::Contended),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().failure.clone(),
            Ok(state) if context.contended.load(Ordering::Relaxed) => {
                state.failure.clone().or(Some(Failure::Contended))
            }
            Ok(state) => state.failure.clone(),
        }
    }

    /// Runs `f` on the stage's source, unless the stage has failed. `None` where it has another kind of source.
    pub fn with_source<S: Source, T>(self, f: impl FnOnce(&mut S) -> T) -> Option<Result<T, Failure>> {
        let Some(mut state) = self.context().enter() else { return Some(Err(Failure::Contended)) };
        if let Some(failure) = &state.failure {
            return Some(Err(failure.clone()));
        }
        let Rows::Pulled(source) = &mut state.rows else { return None };
        let source: &mut dyn Any = source.as_mut();
        source.downcast_mut().map(|source| Ok(f(source)))
    }

    fn context<'a>(self) -> &'a Context {
        // SAFETY: `of` found our vtable, so `ctx` is our box, and the sampler is valid while the stage is used.
        unsafe { &*self.0.as_ref().ctx.cast::<Context>() }
    }
}

impl Context {
    /// The state, unless another thread has it: then the stage fails, and waits for nobody.
    fn enter(&self) -> Option<MutexGuard<'_, State>> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.contended.store(true, Ordering::Relaxed);
                return None;
            }
        };
        if self.contended.swap(false, Ordering::Relaxed) {
            state.fail(Failure::Contended);
        }
        Some(state)
    }
}

impl State {
    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// Runs `f`, which may panic, and keeps what went wrong.
    fn attempt(&mut self, f: impl FnOnce(&mut Self) -> Result<(), Failure>) {
        let done = catch_unwind(AssertUnwindSafe(|| f(self)));
        if let Err(failure) = done.unwrap_or(Err(Failure::Panicked)) {
            self.fail(failure);
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.stage.set_lent(None);
    }
}

/// # Safety
/// `init` of the state is a `llama_sampler_init`.
unsafe fn create(state: State) -> Option<NonNull<Sampler>> {
    let init = state.init;
    let context = Box::into_raw(Box::new(Context { state: Mutex::new(state), contended: AtomicBool::new(false) }));
    // SAFETY: the table is static and never written to; the box belongs to the sampler until `free`.
    let sampler = NonNull::new(unsafe { init((&raw const TABLE.iface).cast_mut(), context.cast()) });
    if sampler.is_none() {
        // SAFETY: no sampler took it.
        drop(unsafe { Box::from_raw(context) });
    }
    sampler
}

static TABLE: Table = Table::new(sys::llama_sampler_i {
    name: Some(name),
    accept: Some(accept),
    apply: Some(apply),
    reset: Some(reset),
    clone: Some(clone),
    free: Some(free),
    ..table::NONE
});

/// # Safety
/// `sampler` is ours and lives for as long as the result is used.
unsafe fn context<'a>(sampler: *const Sampler) -> &'a Context {
    // SAFETY: `ctx` is the box that `create` made.
    unsafe { &*(*sampler).ctx.cast::<Context>() }
}

unsafe extern "C" fn name(_: *const Sampler) -> *const c_char {
    NAME.as_ptr()
}

/// Lent rows are for one position only, so there is none to move on from; a source goes on.
unsafe extern "C" fn accept(sampler: *mut Sampler, token: sys::llama_token) {
    // SAFETY: llama.cpp passes our sampler.
    let Some(mut state) = unsafe { context(sampler) }.enter() else { return };
    if state.failure.is_none() {
        state.attempt(|state| {
            if let Rows::Pulled(source) = &mut state.rows {
                source.accept(token);
            }
            Ok(())
        });
    }
}

unsafe extern "C" fn apply(sampler: *mut Sampler, array: *mut sys::llama_token_data_array) {
    // SAFETY: llama.cpp passes our sampler.
    let Some(mut state) = unsafe { context(sampler) }.enter() else { return };
    // SAFETY: llama.cpp passes a valid array and waits for the call to end.
    let array = unsafe { &mut *array };
    state.attempt(|state| {
        let State { rows, plausibility, failure, .. } = state;
        match rows {
            Rows::Lent(terms) => {
                let terms = terms.ok_or(Failure::NoRows)?;
                // SAFETY: lent, see `Stage::lend`.
                add(array, *plausibility, unsafe { terms.as_ref() })
            }
            Rows::Pulled(_) if failure.is_some() => Ok(()),
            Rows::Pulled(source) => source.rows(&mut |terms| add(array, *plausibility, terms)),
        }
    });
}

/// Does to the candidates of a program on llama-cpp-2 what the stage does in a chain; before the program's own samplers
/// are applied to them. On an error they are as they came in.
pub fn apply_to(array: &mut LlamaTokenDataArray, tau: f32, terms: &[Term<'_>]) -> Result<(), Failure> {
    let raw = |data: &LlamaTokenData| sys::llama_token_data { id: data.id().0, logit: data.logit(), p: data.p() };
    let mut data: Vec<_> = array.data.iter().map(raw).collect();
    let mut candidates =
        sys::llama_token_data_array { data: data.as_mut_ptr(), size: data.len(), selected: -1, sorted: array.sorted };
    add(&mut candidates, tau, terms)?;
    data.truncate(candidates.size);
    array.sorted = candidates.sorted;
    array.data.clear();
    array.data.extend(data.iter().map(|data| LlamaTokenData::new(LlamaToken(data.id), data.logit, data.p)));
    Ok(())
}

/// Steers the candidates. On an error they are as they came in.
fn add(array: &mut sys::llama_token_data_array, tau: f32, terms: &[Term<'_>]) -> Result<(), Failure> {
    if array.size == 0 || array.data.is_null() {
        return Ok(());
    }
    // SAFETY: the array holds `size` candidates.
    let candidates = unsafe { std::slice::from_raw_parts_mut(array.data, array.size) };
    let not_finite = |error: offset::NotFinite| Failure::NotFinite { id: error.id };
    let mut n_kept = candidates.len();
    if tau > 0.0 {
        // A failure leaves the array as it came in, so it must show before anything is dropped.
        offset::check_by_id(candidates, terms).map_err(not_finite)?;
        n_kept = plausibility::keep(candidates, tau);
    }
    offset::add_by_id(&mut candidates[..n_kept], terms).map_err(not_finite)?;
    array.size = n_kept;
    array.sorted = false;
    Ok(())
}

unsafe extern "C" fn reset(sampler: *mut Sampler) {
    // SAFETY: llama.cpp passes our sampler.
    let Some(mut state) = unsafe { context(sampler) }.enter() else { return };
    state.failure = None;
    state.attempt(|state| {
        if let Rows::Pulled(source) = &mut state.rows {
            source.reset();
        }
        Ok(())
    });
}

/// A failed stage stays failed in its copy; rows are never lent to two.
unsafe extern "C" fn clone(sampler: *const Sampler) -> *mut Sampler {
    // SAFETY: llama.cpp passes our sampler.
    let context = unsafe { context(sampler) };
    let copy = || {
        // There must be a copy even of a stage that somebody is using: it waits.
        let mut state = context.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { plausibility, init, .. } = *state;
        let mut failure = state.failure.clone();
        let rows = match &mut state.rows {
            Rows::Lent(_) => Rows::Lent(None),
            Rows::Pulled(source) => {
                let (source, reason) = source.copy();
                failure = failure.or(reason);
                Rows::Pulled(source)
            }
        };
        // SAFETY: `init` made the origin too.
        unsafe { create(State { rows, plausibility, failure, init }) }
    };
    let copied = catch_unwind(AssertUnwindSafe(copy)).unwrap_or(None);
    copied.map_or(std::ptr::null_mut(), NonNull::as_ptr)
}

/// Frees the context only: llama.cpp deletes the shell.
unsafe extern "C" fn free(sampler: *mut Sampler) {
    // SAFETY: `ctx` is the box that `create` made, and llama.cpp frees a sampler once.
    let context = unsafe { Box::from_raw((*sampler).ctx.cast::<Context>()) };
    let _ = catch_unwind(AssertUnwindSafe(move || drop(context)));
}

#[cfg(test)]
mod tests;
