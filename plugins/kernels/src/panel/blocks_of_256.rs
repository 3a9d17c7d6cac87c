//! K-quants: types of weights in blocks of 256, with a scale for each sub-block of 16 or 32.

use super::{Block, Columns, LOW, Panel, Sums};
use crate::kind::Kind;
use crate::lanes::Lanes;

const BIT_4: i32 = 0x1010_1010;
const BITS_4_5: i32 = 0x3030_3030;

/// The scales and minima of a block of `Q4_K` or `Q5_K`.
struct Header<V: Lanes> {
    scale: V::Float,
    /// 0 to 3 and 4 to 7, a byte each.
    scales: [V::Int; 2],
}

impl<V: Lanes> Header<V> {
    /// Reads 16 bytes, and begins the block's sum of every column with what its minima are.
    #[inline(always)]
    unsafe fn read<const K: usize>(rows: Panel<'_>, offset: usize, x: Columns) -> (Self, Sums<V, K>) {
        // SAFETY: as the caller promises.
        unsafe {
            let [both, a, b, c] = rows.dwords::<V>(offset);
            let (six, low, high) = (V::splat(0x3f3f_3f3f), V::splat(LOW), V::splat(BITS_4_5));
            let scales = [V::and(a, six), V::merge(c, low, V::and(V::shift_right::<2>(a), high))];
            let minima = [V::and(b, six), V::merge(V::shift_right::<4>(c), low, V::and(V::shift_right::<2>(b), high))];
            let even = V::splat(0x00ff_00ff);
            let minima = [
                V::and(minima[0], even),
                V::and(V::shift_right::<8>(minima[0]), even),
                V::and(minima[1], even),
                V::and(V::shift_right::<8>(minima[1]), even),
            ];
            let minus = V::mul(V::high_half(both), V::splat_float(-1.0));
            let mut block = [minus; K];
            for (k, sum) in block.iter_mut().enumerate() {
                *sum = V::mul(minus, V::float(V::dot16::<4>(&minima, x.sums.add(4 * k))));
            }
            (Self { scale: V::low_half(both), scales }, block)
        }
    }

    /// The scale of the sub-block `2 × G`, and of the one behind it times `high`.
    #[inline(always)]
    unsafe fn pair<const G: usize>(&self, high: f32) -> [V::Float; 2] {
        // SAFETY: as the caller promises.
        unsafe {
            let (byte, scales) = (V::splat(0xff), self.scales[G / 2]);
            let [a, b] = if G.is_multiple_of(2) {
                [scales, V::shift_right::<8>(scales)]
            } else {
                [V::shift_right::<16>(scales), V::shift_right::<24>(scales)]
            };
            [
                V::mul(self.scale, V::float(V::and(a, byte))),
                V::mul(V::mul(self.scale, V::float(V::and(b, byte))), V::splat_float(high)),
            ]
        }
    }
}

/// Adds the products of two sub-blocks of 32, which stand one behind the other from `x` on.
#[inline(always)]
unsafe fn add_two<V: Lanes, const K: usize, const BITS: u32>(
    first: &[V::Int; 8],
    second: &[V::Int; 8],
    scales: [V::Float; 2],
    x: *const i8,
    block: &mut Sums<V, K>,
) {
    for (k, sum) in block.iter_mut().enumerate() {
        // SAFETY: as the caller promises.
        unsafe {
            let x = x.add(256 * k);
            *sum = V::mul_add(V::float(V::dot::<8, BITS>(0, first, x)), scales[0], *sum);
            *sum = V::mul_add(V::float(V::dot::<8, BITS>(0, second, x.add(32))), scales[1], *sum);
        }
    }
}

pub(super) struct Q4K;
impl Q4K {
    #[inline(always)]
    unsafe fn group<V: Lanes, const K: usize, const G: usize>(
        header: &Header<V>,
        rows: Panel<'_>,
        offset: usize,
        x: Columns,
        block: &mut Sums<V, K>,
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            let low = V::splat(LOW);
            let [a, b, c, d] = rows.dwords::<V>(offset + 16 + 32 * G);
            let [e, f, g, h] = rows.dwords::<V>(offset + 32 + 32 * G);
            let t = [a, b, c, d, e, f, g, h];
            let (mut lows, mut highs) = (t, t);
            for i in 0..8 {
                lows[i] = V::and(t[i], low);
                highs[i] = V::high_nibbles(t[i]);
            }
            let scales = header.pair::<G>(V::HIGH);
            add_two::<V, K, 4>(&lows, &highs, scales, x.quants.add(64 * G), block);
        }
    }
}
impl Block for Q4K {
    const KIND: Kind = Kind::Q4K;

    #[inline(always)]
    unsafe fn add<V: Lanes, const K: usize>(rows: Panel<'_>, offset: usize, x: Columns, sums: &mut Sums<V, K>) {
        // SAFETY: as the caller promises.
        unsafe {
            let (header, mut block) = Header::<V>::read::<K>(rows, offset, x);
            Self::group::<V, K, 0>(&header, rows, offset, x, &mut block);
            Self::group::<V, K, 1>(&header, rows, offset, x, &mut block);
            Self::group::<V, K, 2>(&header, rows, offset, x, &mut block);
            Self::group::<V, K, 3>(&header, rows, offset, x, &mut block);
            close::<V, K>(block, x, sums);
        }
    }
}

pub(super) struct Q5K;
impl Q5K {
    #[inline(always)]
    unsafe fn group<V: Lanes, const K: usize, const G: usize>(
        header: &Header<V>,
        bits: &[V::Int; 8],
        rows: Panel<'_>,
        offset: usize,
        x: Columns,
        block: &mut Sums<V, K>,
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            let (low, bit) = (V::splat(LOW), V::splat(BIT_4));
            let [a, b, c, d] = rows.dwords::<V>(offset + 48 + 32 * G);
            let [e, f, g, h] = rows.dwords::<V>(offset + 64 + 32 * G);
            let t = [a, b, c, d, e, f, g, h];
            let (mut lows, mut highs) = (t, t);
            for i in 0..8 {
                // The bits 2 G and 2 G + 1 of each byte come to stand over its four others.
                let [even, odd] = match G {
                    0 => [V::shift_left::<4>(bits[i]), V::shift_left::<3>(bits[i])],
                    1 => [V::shift_left::<2>(bits[i]), V::shift_left::<1>(bits[i])],
                    2 => [bits[i], V::shift_right::<1>(bits[i])],
                    _ => [V::shift_right::<2>(bits[i]), V::shift_right::<3>(bits[i])],
                };
                lows[i] = V::merge(t[i], low, V::and(even, bit));
                highs[i] = V::merge(V::shift_right::<4>(t[i]), low, V::and(odd, bit));
            }
            let scales = header.pair::<G>(1.0);
            add_two::<V, K, 5>(&lows, &highs, scales, x.quants.add(64 * G), block);
        }
    }
}
impl Block for Q5K {
    const KIND: Kind = Kind::Q5K;

    #[inline(always)]
    unsafe fn add<V: Lanes, const K: usize>(rows: Panel<'_>, offset: usize, x: Columns, sums: &mut Sums<V, K>) {
        // SAFETY: as the caller promises.
        unsafe {
            let (header, mut block) = Header::<V>::read::<K>(rows, offset, x);
            let [a, b, c, d] = rows.dwords::<V>(offset + 16);
            let [e, f, g, h] = rows.dwords::<V>(offset + 32);
            let bits = [a, b, c, d, e, f, g, h];
            Self::group::<V, K, 0>(&header, &bits, rows, offset, x, &mut block);
            Self::group::<V, K, 1>(&header, &bits, rows, offset, x, &mut block);
            Self::group::<V, K, 2>(&header, &bits, rows, offset, x, &mut block);
            Self::group::<V, K, 3>(&header, &bits, rows, offset, x, &mut block);
            close::<V, K>(block, x, sums);
        }
    }
}

pub(super) struct Q6K;
impl Q6K {
    /// Half a block: 128 weights.
    #[inline(always)]
    unsafe fn half<V: Lanes, const K: usize, const H: usize>(
        scale: V::Float,
        scales: [V::Int; 2],
        rows: Panel<'_>,
        offset: usize,
        x: Columns,
        block: &mut Sums<V, K>,
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            let (low, two) = (V::splat(LOW), V::splat(BITS_4_5));
            let [a, b, c, d] = rows.dwords::<V>(offset + 128 + 32 * H);
            let [e, f, g, h] = rows.dwords::<V>(offset + 144 + 32 * H);
            let bits = [a, b, c, d, e, f, g, h];
            // The first 32 bytes hold weights 0 to 31 and 64 to 95, the others 32 to 63 and 96 to 127.
            for second in [false, true] {
                let at = offset + 64 * H + if second { 32 } else { 0 };
                let [a, b, c, d] = rows.dwords::<V>(at);
                let [e, f, g, h] = rows.dwords::<V>(at + 16);
                let t = [a, b, c, d, e, f, g, h];
                let (mut lows, mut highs) = (t, t);
                for i in 0..8 {
                    let [under, over] = if second {
                        [V::shift_left::<2>(bits[i]), V::shift_right::<2>(bits[i])]
                    } else {
                        [V::shift_left::<4>(bits[i]), bits[i]]
                    };
                    lows[i] = V::merge(t[i], low, V::and(under, two));
                    highs[i] = V::merge(V::shift_right::<4>(t[i]), low, V::and(over, two));
                }
                for (w, upper) in [(lows, false), (highs, true)] {
                    // Two sub-blocks of 16 weights: numbers `j` and `j + 1` of the half.
                    let quarter = usize::from(second) + 2 * usize::from(upper);
                    let word = scales[usize::from(upper)];
                    let [left, right] = if second {
                        [V::shift_left::<8>(word), word]
                    } else {
                        [V::shift_left::<24>(word), V::shift_left::<16>(word)]
                    };
                    let one = V::mul(scale, V::float(V::shift_right_signed::<24>(left)));
                    let two = V::mul(scale, V::float(V::shift_right_signed::<24>(right)));
                    let [w0, w1, w2, w3, w4, w5, w6, w7] = w;
                    for (k, sum) in block.iter_mut().enumerate() {
                        let quants = x.quants.add(256 * k + 128 * H + 32 * quarter);
                        let starts = x.sums.add(16 * k + 8 * H + 2 * quarter);
                        let product = V::dot::<4, 6>(*starts, &[w0, w1, w2, w3], quants);
                        *sum = V::mul_add(V::float(product), one, *sum);
                        let product = V::dot::<4, 6>(*starts.add(1), &[w4, w5, w6, w7], quants.add(16));
                        *sum = V::mul_add(V::float(product), two, *sum);
                    }
                }
            }
        }
    }
}
impl Block for Q6K {
    const KIND: Kind = Kind::Q6K;

    #[inline(always)]
    unsafe fn add<V: Lanes, const K: usize>(rows: Panel<'_>, offset: usize, x: Columns, sums: &mut Sums<V, K>) {
        // SAFETY: as the caller promises.
        unsafe {
            // The two bytes before the block's scale are scales of sub-blocks: so nothing is read behind its end.
            let scale = V::high_half(rows.dword::<V>(offset + 206));
            let [a, b, c, d] = rows.dwords::<V>(offset + 192);
            let mut block = [V::splat_float(0.0); K];
            Self::half::<V, K, 0>(scale, [a, b], rows, offset, x, &mut block);
            Self::half::<V, K, 1>(scale, [c, d], rows, offset, x, &mut block);
            close::<V, K>(block, x, sums);
        }
    }
}

/// Adds the sums of a block of 256, times the scales of its activations.
#[inline(always)]
unsafe fn close<V: Lanes, const K: usize>(block: Sums<V, K>, x: Columns, sums: &mut Sums<V, K>) {
    for (k, (sum, block)) in sums.iter_mut().zip(block).enumerate() {
        // SAFETY: as the caller promises.
        *sum = unsafe { V::mul_add(block, V::splat_float(*x.scales.add(k)), *sum) };
    }
}
