//! Weights that are floats.

use super::{Panel, Sums};
use crate::activations::Tile;
use crate::lanes::Lanes;
use crate::reference::FLOATS_AT_ONCE;

/// Weights that are floats, in four bytes.
pub(super) trait Dword {
    const N: usize;

    /// # Safety
    /// `V`'s instructions.
    unsafe fn floats<V: Lanes>(a: V::Int) -> [V::Float; 2];
}

pub(super) struct F32;
impl Dword for F32 {
    const N: usize = 1;

    #[inline(always)]
    unsafe fn floats<V: Lanes>(a: V::Int) -> [V::Float; 2] {
        // SAFETY: as the caller promises.
        unsafe { [V::as_float(a); 2] }
    }
}

pub(super) struct F16;
impl Dword for F16 {
    const N: usize = 2;

    #[inline(always)]
    unsafe fn floats<V: Lanes>(a: V::Int) -> [V::Float; 2] {
        // SAFETY: as the caller promises.
        unsafe { [V::low_half(a), V::high_half(a)] }
    }
}

pub(super) struct Bf16;
impl Dword for Bf16 {
    const N: usize = 2;

    #[inline(always)]
    unsafe fn floats<V: Lanes>(a: V::Int) -> [V::Float; 2] {
        // SAFETY: as the caller promises.
        unsafe {
            let upper = V::splat(0xffff_0000_u32 as i32);
            [V::as_float(V::shift_left::<16>(a)), V::as_float(V::and(a, upper))]
        }
    }
}

#[inline(always)]
pub(super) unsafe fn floats<V: Lanes, D: Dword, const K: usize>(panel: Panel<'_>, tile: &Tile<'_>) -> Sums<V, K> {
    // SAFETY: as the caller of `multiply` promises: a row has as many dwords as there are blocks.
    unsafe {
        let zero = V::splat_float(0.0);
        let values = |dword: usize| tile.floats.as_ptr().add(dword * D::N * K);
        let mut sums = [zero; K];
        for first in (0..panel.n_blocks).step_by(FLOATS_AT_ONCE) {
            let mut part = [zero; K];
            let end = panel.n_blocks.min(first + FLOATS_AT_ONCE);
            let fours = first + (end - first) / 4 * 4;
            for dword in (first..fours).step_by(4) {
                for (i, weights) in panel.dwords::<V>(4 * dword).into_iter().enumerate() {
                    add::<V, D, K>(weights, values(dword + i), &mut part);
                }
            }
            for dword in fours..end {
                add::<V, D, K>(panel.dword::<V>(4 * dword), values(dword), &mut part);
            }
            for (sum, part) in sums.iter_mut().zip(part) {
                *sum = V::add(*sum, part);
            }
        }
        sums
    }
}

/// Adds the products of four bytes of each row with every column. No closure, which need not be inlined where two places call it,
/// and then would call every instruction.
#[inline(always)]
unsafe fn add<V: Lanes, D: Dword, const K: usize>(weights: V::Int, values: *const f32, part: &mut Sums<V, K>) {
    // SAFETY: as the caller promises.
    unsafe {
        let weights = D::floats::<V>(weights);
        for (i, &weight) in weights[..D::N].iter().enumerate() {
            for (k, sum) in part.iter_mut().enumerate() {
                *sum = V::mul_add(weight, V::splat_float(*values.add(i * K + k)), *sum);
            }
        }
    }
}
