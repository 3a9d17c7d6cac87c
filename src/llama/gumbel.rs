//! Seeded Gumbel-max as a llama.cpp sampler that chooses, in the place of `dist`.
//!
//! It selects the candidate of the highest `logit + noise`, which is a draw from their softmax; the noise depends on
//! seed, position and token alone ([`noise::gumbel`]). Two chains with one seed that sample one position from rows that
//! resemble one another so choose the same token more often than two with one stream of numbers do, which `dist`
//! spends along an order that differs from row to row. What a drafter proposes then changes how much is accepted and
//! nothing else: drafter-invariant speculation (Daliri, Musco and Suresh 2024, arXiv 2408.07978).
//!
//! The position is the number of tokens that were accepted since it was new or reset, those of the prompt included where
//! a chain is told them.

use std::ffi::c_char;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::table::{self, Table, state, with_state};
use crate::arithmetic::noise;

/// What the sampler's `ctx` points to.
#[derive(Clone, Copy)]
struct State {
    seed: u32,
    position: u32,
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

/// A new sampler, owned by the caller until a chain takes it.
pub(super) fn create(seed: u32) -> NonNull<sys::llama_sampler> {
    with_state(&TABLE, State { seed, position: 0 })
}

unsafe extern "C" fn name(_: *const sys::llama_sampler) -> *const c_char {
    c"gumbel".as_ptr()
}

unsafe extern "C" fn accept(sampler: *mut sys::llama_sampler, _: sys::llama_token) {
    // SAFETY: llama.cpp passes our sampler, to one thread at a time.
    let state = unsafe { state::<State>(sampler) };
    state.position = state.position.wrapping_add(1);
}

unsafe extern "C" fn apply(sampler: *mut sys::llama_sampler, array: *mut sys::llama_token_data_array) {
    // SAFETY: llama.cpp passes our sampler, to one thread at a time, and a valid array of `size` candidates.
    let (State { seed, position }, array) = unsafe { (*state(sampler), &mut *array) };
    if array.data.is_null() {
        return;
    }
    // SAFETY: as above.
    let candidates = unsafe { std::slice::from_raw_parts(array.data, array.size) };
    let scores = candidates.iter().zip(0..).filter(|(candidate, _)| candidate.logit != f32::NEG_INFINITY);
    let scores = scores.map(|(candidate, i)| {
        let noise = noise::gumbel(seed, position, candidate.id.cast_unsigned());
        (f64::from(candidate.logit) + noise, i)
    });
    // A logit that is no number wins, so that it is seen.
    let best = scores.max_by(|(a, _), (b, _)| a.total_cmp(b));
    array.selected = best.map_or(-1, |(_, i)| i);
}

unsafe extern "C" fn reset(sampler: *mut sys::llama_sampler) {
    // SAFETY: llama.cpp passes our sampler, to one thread at a time.
    unsafe { state::<State>(sampler) }.position = 0;
}

unsafe extern "C" fn clone(sampler: *const sys::llama_sampler) -> *mut sys::llama_sampler {
    // SAFETY: llama.cpp passes our sampler, to one thread at a time.
    with_state(&TABLE, *unsafe { state::<State>(sampler) }).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sampler that is freed at the end of its test.
    struct Owned(NonNull<sys::llama_sampler>);

    impl Owned {
        fn accept(&self) {
            // SAFETY: the sampler is valid.
            unsafe { sys::llama_sampler_accept(self.0.as_ptr(), 0) };
        }

        /// The id that is chosen of candidates `(id, logit)`.
        fn choose(&self, candidates: &[(i32, f32)]) -> Option<i32> {
            let entry = |&(id, logit)| sys::llama_token_data { id, logit, p: 0.0 };
            let mut data: Vec<_> = candidates.iter().map(entry).collect();
            let mut array =
                sys::llama_token_data_array { data: data.as_mut_ptr(), size: data.len(), selected: -1, sorted: false };
            // SAFETY: sampler and array are valid.
            unsafe { sys::llama_sampler_apply(self.0.as_ptr(), &raw mut array) };
            usize::try_from(array.selected).ok().map(|i| data[i].id)
        }

        /// The ids that are chosen at `n` positions from here on.
        fn draws(&self, n: usize, candidates: &[(i32, f32)]) -> Vec<Option<i32>> {
            let draw = |_| {
                let id = self.choose(candidates);
                self.accept();
                id
            };
            (0..n).map(draw).collect()
        }
    }

    impl Drop for Owned {
        fn drop(&mut self) {
            // SAFETY: the sampler is ours.
            unsafe { sys::llama_sampler_free(self.0.as_ptr()) };
        }
    }

    const FOUR: [(i32, f32); 4] = [(0, 0.0), (1, 1.0), (2, 2.0), (3, -1.0)];

    #[test]
    fn frequencies_are_the_softmax() {
        const N: usize = 40_000;
        /// χ² with 3 degrees of freedom is above this once in 100,000 times.
        const LIMIT: f64 = 25.9;
        let weights = FOUR.map(|(_, logit)| f64::from(logit).exp());
        let along_positions = Owned(create(7)).draws(N, &FOUR);
        let along_seeds: Vec<_> = (0..N).map(|seed| Owned(create(seed as u32)).choose(&FOUR)).collect();
        for draws in [along_positions, along_seeds] {
            let share = |id: usize| weights[id] / weights.iter().sum::<f64>() * N as f64;
            let count = |id: usize| draws.iter().filter(|draw| **draw == Some(id as i32)).count() as f64;
            let chi_square: f64 = (0..4).map(|id| (count(id) - share(id)).powi(2) / share(id)).sum();
            assert!(chi_square < LIMIT, "{chi_square}");
        }
    }

    #[test]
    fn order_and_what_was_dropped_do_not_matter() {
        let sampler = Owned(create(3));
        for _ in 0..200 {
            let chosen = sampler.choose(&FOUR).expect("one of four");
            let mut sorted = FOUR;
            sorted.sort_by(|(_, a), (_, b)| b.total_cmp(a));
            assert_eq!(sampler.choose(&sorted), Some(chosen));
            let others = FOUR.into_iter().find(|(id, _)| *id != chosen).expect("another");
            let kept: Vec<_> = sorted.into_iter().filter(|candidate| *candidate != others).collect();
            assert_eq!(sampler.choose(&kept), Some(chosen), "a candidate that was not chosen is gone");
            sampler.accept();
        }
    }

    #[test]
    fn what_is_masked_is_never_chosen() {
        let masked = f32::NEG_INFINITY;
        let sampler = Owned(create(3));
        assert_eq!(sampler.draws(50, &[(0, masked), (1, 0.0), (2, masked)]), [Some(1); 50]);
        assert_eq!(sampler.choose(&[(0, masked), (1, masked)]), None);
        assert_eq!(sampler.choose(&[]), None);
        assert_eq!(sampler.choose(&[(0, 1.0), (1, f32::NAN)]), Some(1), "for the chain to see and refuse");
    }

    #[test]
    fn a_clone_goes_on_from_the_same_position_and_reset_starts_anew() {
        let sampler = Owned(create(5));
        let whole = sampler.draws(40, &FOUR);
        // SAFETY: the sampler is valid.
        unsafe { sys::llama_sampler_reset(sampler.0.as_ptr()) };
        assert_eq!(sampler.draws(20, &FOUR), whole[..20]);
        // SAFETY: the sampler is valid, and the copy is ours.
        let copy = Owned(NonNull::new(unsafe { sys::llama_sampler_clone(sampler.0.as_ptr()) }).expect("a copy"));
        assert_eq!(sampler.draws(20, &FOUR), whole[20..]);
        drop(sampler);
        assert_eq!(copy.draws(20, &FOUR), whole[20..]);
        assert_ne!(Owned(create(6)).draws(40, &FOUR), whole);
    }

    /// Neighbouring rows share most of their draws, which is what a drafter needs.
    #[test]
    fn a_row_that_resembles_another_agrees_with_it() {
        let near: Vec<_> = FOUR.iter().map(|&(id, logit)| (id, logit + 0.2 * (id as f32 - 1.5))).collect();
        let (one, other) = (Owned(create(9)).draws(4000, &FOUR), Owned(create(9)).draws(4000, &near));
        let agree = one.iter().zip(&other).filter(|(a, b)| a == b).count() as f64 / 4000.0;
        let softmax = |row: &[(i32, f32)]| {
            let sum: f64 = row.iter().map(|(_, logit)| f64::from(*logit).exp()).sum();
            row.iter().map(|(_, logit)| f64::from(*logit).exp() / sum).collect::<Vec<_>>()
        };
        let tv: f64 = softmax(&FOUR).iter().zip(softmax(&near)).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0;
        // The paper's bound, less four standard errors.
        assert!(agree > (1.0 - tv) / (1.0 + tv) - 0.02, "{agree} at a total variation of {tv}");
    }
}
