//! Types of weights in blocks of 32, each with one scale.

use super::{Block, Columns, LOW, Panel, Sums};
use crate::kind::Kind;
use crate::lanes::Lanes;

pub(super) struct Q4_0;
impl Block for Q4_0 {
    const KIND: Kind = Kind::Q4_0;

    #[inline(always)]
    unsafe fn add<V: Lanes, const K: usize>(rows: Panel<'_>, offset: usize, x: Columns, sums: &mut Sums<V, K>) {
        // SAFETY: as the caller promises.
        unsafe {
            let low = V::splat(LOW);
            let scale = V::low_half(rows.dword::<V>(offset));
            let [a, b, c, d] = rows.dwords::<V>(offset + 2);
            let up = |v| V::and(V::shift_right::<4>(v), low);
            let w = [V::and(a, low), V::and(b, low), V::and(c, low), V::and(d, low), up(a), up(b), up(c), up(d)];
            close::<V, K>(scale, x, sums, |k| V::dot::<8, 4>(*x.sums.add(k), &w, x.quants.add(32 * k)));
        }
    }
}

pub(super) struct Q5_0;
impl Block for Q5_0 {
    const KIND: Kind = Kind::Q5_0;

    #[inline(always)]
    unsafe fn add<V: Lanes, const K: usize>(rows: Panel<'_>, offset: usize, x: Columns, sums: &mut Sums<V, K>) {
        // SAFETY: as the caller promises.
        unsafe {
            let low = V::splat(LOW);
            let scale = V::low_half(rows.dword::<V>(offset));
            let bits = rows.dword::<V>(offset + 2);
            let [a, b, c, d] = rows.dwords::<V>(offset + 6);
            let w = [
                V::merge(a, low, V::spread_bits::<0>(bits)),
                V::merge(b, low, V::spread_bits::<1>(bits)),
                V::merge(c, low, V::spread_bits::<2>(bits)),
                V::merge(d, low, V::spread_bits::<3>(bits)),
                V::merge(V::shift_right::<4>(a), low, V::spread_bits::<4>(bits)),
                V::merge(V::shift_right::<4>(b), low, V::spread_bits::<5>(bits)),
                V::merge(V::shift_right::<4>(c), low, V::spread_bits::<6>(bits)),
                V::merge(V::shift_right::<4>(d), low, V::spread_bits::<7>(bits)),
            ];
            close::<V, K>(scale, x, sums, |k| V::dot::<8, 5>(*x.sums.add(k), &w, x.quants.add(32 * k)));
        }
    }
}

pub(super) struct Q8_0;
impl Block for Q8_0 {
    const KIND: Kind = Kind::Q8_0;

    #[inline(always)]
    unsafe fn add<V: Lanes, const K: usize>(rows: Panel<'_>, offset: usize, x: Columns, sums: &mut Sums<V, K>) {
        // SAFETY: as the caller promises.
        unsafe {
            let scale = V::low_half(rows.dword::<V>(offset));
            let [a, b, c, d] = rows.dwords::<V>(offset + 2);
            let [e, f, g, h] = rows.dwords::<V>(offset + 18);
            let w = [a, b, c, d, e, f, g, h];
            close::<V, K>(scale, x, sums, |k| {
                let start = if V::OFFSET8 { *x.sums.add(k) } else { 0 };
                V::dot8::<8>(start, &w, x.quants.add(32 * k))
            });
        }
    }
}

/// Adds the products with every column, times the scales of both sides.
#[inline(always)]
unsafe fn close<V: Lanes, const K: usize>(
    scale: V::Float,
    x: Columns,
    sums: &mut Sums<V, K>,
    product: impl Fn(usize) -> V::Int,
) {
    for (k, sum) in sums.iter_mut().enumerate() {
        // SAFETY: as the caller promises.
        unsafe {
            let scale = V::mul(scale, V::splat_float(*x.scales.add(k)));
            *sum = V::mul_add(V::float(product(k)), scale, *sum);
        }
    }
}
