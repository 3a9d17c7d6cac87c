//! The algorithm, once for every instruction set: a panel of rows by a tile of columns.
//!
//! A lane belongs to a row. Sixteen bytes of each row are transposed, so that a vector holds four neighbouring weights of
//! every row; decoded once, they are multiplied into every column of the tile. Sums of integers are exact, and the sums of
//! floats run down a row in one order, whatever the number of rows, columns and lanes: so a result has the same bits from
//! every instruction set and for every number of columns.

use crate::activations::Tile;
use crate::kind::Kind;
use crate::lanes::Lanes;
use crate::reference::FLOATS_AT_ONCE;

/// Rows of a matrix, `V::ROWS` of them.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub rows: &'a [*const u8],
    pub n_blocks: usize,
    /// Where the rows after these begin.
    pub next: *const u8,
}

impl Panel<'_> {
    /// Sixteen bytes of each row, as four dwords. As many bytes of the rows after these are fetched meanwhile, in the order in
    /// which they lie: rows side by side are too many streams for a processor to foresee, and fetches in bursts hold up
    /// what is read now.
    #[inline(always)]
    unsafe fn dwords<V: Lanes>(self, offset: usize) -> [V::Int; 4] {
        // SAFETY: as the caller promises; fetches may go astray.
        unsafe {
            for line in (0..16 * V::ROWS).step_by(64) {
                V::prefetch(self.next.wrapping_add(offset * V::ROWS + line));
            }
            V::dwords(self.rows, offset)
        }
    }

    #[inline(always)]
    unsafe fn dword<V: Lanes>(self, offset: usize) -> V::Int {
        // SAFETY: as the caller promises.
        unsafe { V::dword(self.rows, offset) }
    }
}

/// `K` sums for each row.
type Sums<V, const K: usize> = [<V as Lanes>::Float; K];

/// # Safety
/// `V`'s instructions; rows of `n_blocks` blocks of `kind`, and a tile of as many blocks and of `K` columns.
#[inline(always)]
pub(crate) unsafe fn multiply<V: Lanes, const K: usize>(kind: Kind, panel: Panel<'_>, tile: &Tile<'_>) -> Sums<V, K> {
    // SAFETY: as the caller promises.
    unsafe {
        match kind {
            Kind::Q4_0 => blocks::<V, Q4_0, K>(panel, tile),
            Kind::Q5_0 => blocks::<V, Q5_0, K>(panel, tile),
            Kind::Q8_0 => blocks::<V, Q8_0, K>(panel, tile),
            Kind::Q4K => blocks::<V, Q4K, K>(panel, tile),
            Kind::Q5K => blocks::<V, Q5K, K>(panel, tile),
            Kind::Q6K => blocks::<V, Q6K, K>(panel, tile),
            Kind::F32 => floats::<V, F32, K>(panel, tile),
            Kind::F16 => floats::<V, F16, K>(panel, tile),
            Kind::Bf16 => floats::<V, Bf16, K>(panel, tile),
        }
    }
}

/// A block of a type of weights.
trait Block {
    const KIND: Kind;

    /// Adds to `sums` what the block of each row gives with that of each column.
    ///
    /// # Safety
    /// `V`'s instructions, and blocks of the rows from `offset` on.
    unsafe fn add<V: Lanes, const K: usize>(rows: Panel<'_>, offset: usize, x: Columns, sums: &mut Sums<V, K>);
}

/// A block of every column.
#[derive(Clone, Copy)]
struct Columns {
    quants: *const i8,
    scales: *const f32,
    sums: *const i32,
}

#[inline(always)]
unsafe fn blocks<V: Lanes, B: Block, const K: usize>(panel: Panel<'_>, tile: &Tile<'_>) -> Sums<V, K> {
    let bytes = const { B::KIND.block_bytes() };
    // SAFETY: as the caller of `multiply` promises; prefetches may go astray.
    unsafe {
        let mut sums = [V::splat_float(0.0); K];
        for b in 0..panel.n_blocks {
            let x = Columns {
                quants: tile.quants.as_ptr().add(b * K * B::KIND.parts().quants),
                scales: tile.floats.as_ptr().add(b * K),
                sums: tile.sums.as_ptr().add(b * K * B::KIND.parts().sums),
            };
            B::add::<V, K>(panel, b * bytes, x, &mut sums);
        }
        sums
    }
}

/// Weights that are floats, in four bytes.
trait Dword {
    const N: usize;

    /// # Safety
    /// `V`'s instructions.
    unsafe fn floats<V: Lanes>(a: V::Int) -> [V::Float; 2];
}

struct F32;
impl Dword for F32 {
    const N: usize = 1;

    #[inline(always)]
    unsafe fn floats<V: Lanes>(a: V::Int) -> [V::Float; 2] {
        // SAFETY: as the caller promises.
        unsafe { [V::as_float(a); 2] }
    }
}

struct F16;
impl Dword for F16 {
    const N: usize = 2;

    #[inline(always)]
    unsafe fn floats<V: Lanes>(a: V::Int) -> [V::Float; 2] {
        // SAFETY: as the caller promises.
        unsafe { [V::low_half(a), V::high_half(a)] }
    }
}

struct Bf16;
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
unsafe fn floats<V: Lanes, D: Dword, const K: usize>(panel: Panel<'_>, tile: &Tile<'_>) -> Sums<V, K> {
    // SAFETY: as the caller of `multiply` promises: a row has as many dwords as there are blocks.
    unsafe {
        let zero = V::splat_float(0.0);
        let mut sums = [zero; K];
        for first in (0..panel.n_blocks).step_by(FLOATS_AT_ONCE) {
            let mut part = [zero; K];
            let end = panel.n_blocks.min(first + FLOATS_AT_ONCE);
            let mut add = |dword: usize, a: V::Int| {
                let weights = D::floats::<V>(a);
                for (k, sum) in part.iter_mut().enumerate() {
                    let values = tile.floats.as_ptr().add((dword * K + k) * D::N);
                    for (i, &weight) in weights[..D::N].iter().enumerate() {
                        *sum = V::mul_add(weight, V::splat_float(*values.add(i)), *sum);
                    }
                }
            };
            let fours = first + (end - first) / 4 * 4;
            for dword in (first..fours).step_by(4) {
                let [a, b, c, d] = panel.dwords::<V>(4 * dword);
                add(dword, a);
                add(dword + 1, b);
                add(dword + 2, c);
                add(dword + 3, d);
            }
            for dword in fours..end {
                add(dword, panel.dword::<V>(4 * dword));
            }
            for (sum, part) in sums.iter_mut().zip(part) {
                *sum = V::add(*sum, part);
            }
        }
        sums
    }
}

const LOW: i32 = 0x0f0f_0f0f;
const BIT_4: i32 = 0x1010_1010;
const BITS_4_5: i32 = 0x3030_3030;

struct Q4_0;
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
            for (k, sum) in sums.iter_mut().enumerate() {
                let product = V::dot::<8, 4>(*x.sums.add(k), &w, x.quants.add(32 * k));
                let scale = V::mul(scale, V::splat_float(*x.scales.add(k)));
                *sum = V::mul_add(V::float(product), scale, *sum);
            }
        }
    }
}

struct Q5_0;
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
            for (k, sum) in sums.iter_mut().enumerate() {
                let product = V::dot::<8, 5>(*x.sums.add(k), &w, x.quants.add(32 * k));
                let scale = V::mul(scale, V::splat_float(*x.scales.add(k)));
                *sum = V::mul_add(V::float(product), scale, *sum);
            }
        }
    }
}

struct Q8_0;
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
            for (k, sum) in sums.iter_mut().enumerate() {
                let start = if V::OFFSET8 { *x.sums.add(k) } else { 0 };
                let product = V::dot8::<8>(start, &w, x.quants.add(32 * k));
                let scale = V::mul(scale, V::splat_float(*x.scales.add(k)));
                *sum = V::mul_add(V::float(product), scale, *sum);
            }
        }
    }
}

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

struct Q4K;
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
            for (k, sum) in block.iter_mut().enumerate() {
                let x = x.quants.add(256 * k + 64 * G);
                *sum = V::mul_add(V::float(V::dot::<8, 4>(0, &lows, x)), scales[0], *sum);
                *sum = V::mul_add(V::float(V::dot::<8, 4>(0, &highs, x.add(32))), scales[1], *sum);
            }
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

struct Q5K;
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
            for (k, sum) in block.iter_mut().enumerate() {
                let x = x.quants.add(256 * k + 64 * G);
                *sum = V::mul_add(V::float(V::dot::<8, 5>(0, &lows, x)), scales[0], *sum);
                *sum = V::mul_add(V::float(V::dot::<8, 5>(0, &highs, x.add(32))), scales[1], *sum);
            }
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

struct Q6K;
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
