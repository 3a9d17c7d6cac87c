//! The stage for programs that have a llama.cpp of their own: a C interface (`include/proxytune.h`), loaded at run time.
//!
//! ```text
//! host's thread   llama_decode(base) ─► apply: waits, adds ─► token ─► accept ─┐ ─► llama_decode(base) …
//! pair's thread   … decodes expert and antiexpert ─► rows ──┘                  └─► decodes both …
//! ```
//!
//! In: a host's `llama_sampler_init`, the files of the pair, tokens. Out: a `llama_sampler` for its chain. The plugin
//! runs its own llama.cpp on its own thread and calls nothing of the host's but that one function. Nothing here prints
//! or ends the process, and no panic leaves it. Its llama.cpp ends the process on some damaged files that pass every
//! check here: a host that loads files of strangers names a program that tries them first (`pt_params.probe`).

//! What is documented here is documented for the header: pointers are NULL or lead to what the function says.

#![allow(unsafe_code)]
#![allow(clippy::missing_safety_doc, reason = "the docs of the C functions are the header's")]

pub mod error;
mod pair;
pub mod params;
mod puller;
mod text;
mod worker;

use std::ffi::c_char;
use std::ptr::NonNull;
use std::sync::Arc;

use proxytune::llama::Token;
use proxytune::llama::stage::{Failure, Sampler, Stage};
use proxytune::steer::Side;

use error::{Error, guard};
use pair::LoadedPair;
use params::{Wanted, pt_params};
use puller::Puller;

/// What pt_abi_version() returns; a host refuses another one.
pub const PT_ABI_VERSION: u32 = 1;

/// Expert and antiexpert.
pub const PT_BOTH: i32 = 0;
/// The expert; of a recipe with several pairs all experts.
pub const PT_EXPERT: i32 = 1;
/// The antiexpert; of a recipe with several pairs all antiexperts.
pub const PT_ANTIEXPERT: i32 = 2;

/// llama.cpp's sampler.
#[allow(non_camel_case_types)]
pub type llama_sampler = Sampler;

/// A loaded pair. Stages keep it as long as they need it.
#[allow(non_camel_case_types)]
pub struct pt_pair(Arc<LoadedPair>);

/// The version of this interface. Structs and functions keep their meaning while it stays the same.
#[unsafe(no_mangle)]
pub extern "C" fn pt_abi_version() -> u32 {
    PT_ABI_VERSION
}

/// The version of proxytune.
#[unsafe(no_mangle)]
pub extern "C" fn pt_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Why the last call on this thread that did not return PT_OK failed; empty if none did. Valid until the next one does.
#[unsafe(no_mangle)]
pub extern "C" fn pt_last_error() -> *const c_char {
    error::last()
}

/// Fills `params` with defaults. `size` is sizeof(pt_params).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_default_params(params: *mut pt_params, size: usize) -> i32 {
    // SAFETY: as the caller promises.
    guard(|| unsafe { pt_params::fill(params, size) })
}

/// Loads a pair, and compares its vocabularies with the base's. A side that is the base is refused. Files that llama.cpp
/// does not survive are refused where `probe` names a program that tries them first; without one some end the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_pair_new(params: *const pt_params, pair: *mut *mut pt_pair) -> i32 {
    guard(|| {
        // SAFETY: as the caller promises.
        unsafe { write(pair, "pair", std::ptr::null_mut())? };
        // SAFETY: as the caller promises.
        let wanted = unsafe { Wanted::of(&pt_params::read(params)?)? };
        let loaded = Box::new(pt_pair(LoadedPair::load(wanted)?));
        // SAFETY: written to above.
        unsafe { pair.write(Box::into_raw(loaded)) };
        Ok(())
    })
}

/// Gives a pair up; NULL is none. Stages of it go on, and it ends with the last of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_pair_free(pair: *mut pt_pair) {
    let _ = guard(|| {
        if !pair.is_null() {
            // SAFETY: it came from `pt_pair_new`.
            drop(unsafe { Box::from_raw(pair) });
        }
        Ok(())
    });
}

/// A sampler for llama_sampler_chain_add(), which then owns it; else llama_sampler_free() frees it. Clones count as
/// stages; one beyond n_seq_max is a sampler that has failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_stage_new(pair: *mut pt_pair, stage: *mut *mut llama_sampler) -> i32 {
    guard(|| {
        // SAFETY: as the caller promises.
        unsafe { write(stage, "stage", std::ptr::null_mut())? };
        // SAFETY: as the caller promises.
        let Some(pt_pair(pair)) = (unsafe { pair.as_ref() }) else {
            return Err(Error::argument("pair", "NULL", "a pair"));
        };
        let source = Puller::open(pair.clone())?;
        // SAFETY: the host gave its llama.cpp's function.
        let sampler = unsafe { Stage::pulling(Box::new(source), pair.plausibility, pair.init) };
        let Some(sampler) = sampler else {
            return Err(Error::argument("sampler_init", "a function that returned NULL", "llama_sampler_init"));
        };
        // SAFETY: written to above.
        unsafe { stage.write(sampler.as_ptr()) };
        Ok(())
    })
}

/// Sets the whole text of a role: all `n` tokens, by the base's ids, with BOS where the model wants one. Returns at once,
/// the pair reads meanwhile. What it holds already of the text, from this stage or from one before it, is not read again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_feed(stage: *mut llama_sampler, role: i32, tokens: *const i32, n: usize) -> i32 {
    guard(|| {
        let side = match role {
            PT_BOTH => Side::Both,
            PT_EXPERT => Side::Experts,
            PT_ANTIEXPERT => Side::Antiexperts,
            role => return Err(Error::argument("role", role, "PT_BOTH, PT_EXPERT or PT_ANTIEXPERT")),
        };
        let tokens: &[Token] = match n {
            0 => &[],
            n if tokens.is_null() || !tokens.is_aligned() || n > isize::MAX as usize / size_of::<Token>() => {
                return Err(Error::argument("tokens", "NULL, misaligned or too many", "tokens"));
            }
            // SAFETY: as the caller promises.
            n => unsafe { std::slice::from_raw_parts(tokens, n) },
        };
        // SAFETY: as the caller promises.
        unsafe { with(stage, |puller| puller.feed(side, tokens)) }
    })
}

/// Takes back the last `n` tokens of every role, accepted or fed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_rollback(stage: *mut llama_sampler, n: usize) -> i32 {
    // SAFETY: as the caller promises.
    guard(|| unsafe { with(stage, |puller| puller.roll_back(n)) })
}

/// How far to steer from now on, -10 to 10, of every pair. A reset leaves it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_set_alpha(stage: *mut llama_sampler, alpha: f32) -> i32 {
    // SAFETY: as the caller promises.
    guard(|| unsafe { with(stage, |puller| puller.set_alpha(alpha)) })
}

/// PT_OK, or why the stage does not steer. To be asked after every sample, before the token is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_status(stage: *const llama_sampler) -> i32 {
    guard(|| {
        // SAFETY: as the caller promises.
        let failure = unsafe { stage_of(stage)? }.failure();
        failure.map_or(Ok(()), |failure| Err(failure.into()))
    })
}

/// # Safety
/// `sampler` is NULL or a sampler.
unsafe fn stage_of(sampler: *const llama_sampler) -> Result<Stage, Error> {
    let wrong = |got: &str| Error::argument("stage", got, "a sampler of pt_stage_new() or a clone of one");
    if !sampler.is_aligned() {
        return Err(wrong("misaligned"));
    }
    let sampler = NonNull::new(sampler.cast_mut()).ok_or_else(|| wrong("NULL"))?;
    // SAFETY: as the caller promises.
    unsafe { Stage::of(sampler) }.ok_or_else(|| wrong("another sampler"))
}

/// # Safety
/// `sampler` is NULL or a sampler.
unsafe fn with(sampler: *mut llama_sampler, f: impl FnOnce(&mut Puller) -> Result<(), Error>) -> Result<(), Error> {
    // SAFETY: as the caller promises.
    let stage = unsafe { stage_of(sampler)? };
    let done: Option<Result<_, Failure>> = stage.with_source(f);
    done.ok_or_else(|| Error::argument("stage", "lent its rows", "a sampler of pt_stage_new()"))??
}

/// # Safety
/// `place` is NULL or can be written to.
unsafe fn write<T>(place: *mut T, name: &'static str, value: T) -> Result<(), Error> {
    if place.is_null() || !place.is_aligned() {
        return Err(Error::argument(name, "NULL or misaligned", "a place for the result"));
    }
    // SAFETY: as the caller promises.
    unsafe { place.write(value) };
    Ok(())
}
