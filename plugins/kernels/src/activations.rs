//! The columns that a matrix is multiplied by: in 8 bits, or for weights that are floats as they are.
//!
//! As ggml quantises them: for K-quants 256 values share a scale (its Q8_K), for the others 32 do, and that scale is rounded
//! to 16 bits (its Q8_0). Columns lie in tiles of up to [`TILE`], block by block, so that the kernels read on and on.
//!
//! The kernels multiply unsigned weights. What that is too much or too little is known from sums of the activations alone, so
//! these are kept with them: for weights with an offset o (8 in Q4_0, 16 in Q5_0, 128 in Q8_0, 32 in Q6_K) −o times the sum,
//! from which the integer sum starts; for weights with a minimum (Q4_K, Q5_K) the sums of 32 values, two in one number.

use crate::half;
use crate::kind::Kind;

/// Columns that are multiplied at once.
pub(crate) const TILE: usize = 8;

/// Columns, ready for one kind of weights.
#[derive(Debug, Default)]
pub struct Activations {
    /// What they were made for, once they were.
    kind: Option<Kind>,
    n: usize,
    n_columns: usize,
    quants: Vec<i8>,
    floats: Vec<f32>,
    sums: Vec<i32>,
}

/// Up to [`TILE`] neighbouring columns.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    pub n_columns: usize,
    /// `[block][column][value]`
    pub quants: &'a [i8],
    /// `[block][column]`: the scales, or `[value][column]`: the values
    pub floats: &'a [f32],
    /// `[block][column][sum]`
    pub sums: &'a [i32],
}

impl Activations {
    /// Columns of `n` values each, one every `stride` values of `from`, for weights of `kind`. Keeps its memory.
    ///
    /// # Panics
    /// Where `n` is not whole blocks, or `from` ends before the last column does.
    pub fn quantise(&mut self, kind: Kind, from: &[f32], n: usize, stride: usize, n_columns: usize) {
        let (block, parts) = (kind.block_len(), kind.parts());
        assert!(n.is_multiple_of(block), "{n} values are not whole blocks of {block}");
        let n_blocks = n / block;
        (self.kind, self.n, self.n_columns) = (Some(kind), n, n_columns);
        // All of it is written below.
        self.quants.resize(n_blocks * n_columns * parts.quants, 0);
        self.floats.resize(n_blocks * n_columns * parts.floats, 0.0);
        self.sums.resize(n_blocks * n_columns * parts.sums, 0);
        for column in 0..n_columns {
            let values = &from[column * stride..][..n];
            let first = column / TILE * TILE;
            let width = TILE.min(n_columns - first);
            if kind.is_float() {
                let floats = self.floats[first * n..].iter_mut().skip(column - first).step_by(width);
                floats.zip(values).for_each(|(to, v)| *to = *v);
                continue;
            }
            for (b, values) in values.chunks_exact(block).enumerate() {
                let at = first * n_blocks + b * width + column - first;
                let quants = &mut self.quants[at * parts.quants..][..parts.quants];
                let sums = &mut self.sums[at * parts.sums..][..parts.sums];
                self.floats[at] = quantise_block(kind, values, quants, sums);
            }
        }
    }

    /// All numbers in 8 bits, and all scales (or floats): of a column by itself in their order.
    #[must_use]
    pub fn parts(&self) -> (&[i8], &[f32]) {
        (&self.quants, &self.floats)
    }

    /// The weights that they were made for.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Values of a column.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    pub(crate) fn tiles(&self, kind: Kind) -> impl Iterator<Item = Tile<'_>> {
        let (n_blocks, parts) = (self.n / kind.block_len(), kind.parts());
        (0..self.n_columns).step_by(TILE).map(move |first| {
            let n_columns = TILE.min(self.n_columns - first);
            let of = |per_block: usize| first * n_blocks * per_block..(first + n_columns) * n_blocks * per_block;
            Tile {
                n_columns,
                quants: &self.quants[of(parts.quants)],
                floats: &self.floats[of(parts.floats)],
                sums: &self.sums[of(parts.sums)],
            }
        })
    }
}

/// Returns the scale.
#[inline]
fn quantise_block(kind: Kind, values: &[f32], quants: &mut [i8], sums: &mut [i32]) -> f32 {
    let scale = if kind.block_len() == 256 { q8_k(values, quants) } else { q8_0(values, quants) };
    let sum = |quants: &[i8]| quants.iter().map(|&q| i32::from(q)).sum::<i32>();
    match kind {
        Kind::Q4_0 => sums[0] = -8 * sum(quants),
        Kind::Q5_0 => sums[0] = -16 * sum(quants),
        Kind::Q8_0 => sums[0] = -128 * sum(quants),
        Kind::Q6K => sums.iter_mut().zip(quants.chunks_exact(16)).for_each(|(s, quants)| *s = -32 * sum(quants)),
        Kind::Q4K | Kind::Q5K => {
            let mut of_32 = [0; 8];
            of_32.iter_mut().zip(quants.chunks_exact(32)).for_each(|(s, quants)| *s = sum(quants));
            for (pair, s) in sums.iter_mut().enumerate() {
                // 0 and 2, 1 and 3, 4 and 6, 5 and 7: as the kernels find the minima.
                let low = pair / 2 * 4 + pair % 2;
                *s = of_32[low] & 0xffff | of_32[low + 2] << 16;
            }
        }
        Kind::F32 | Kind::F16 | Kind::Bf16 => unreachable!("floats are not quantised"),
    }
    scale
}

/// To 8 bits with one scale for 256 values, and that exactly as ggml's Q8_K.
fn q8_k(values: &[f32], quants: &mut [i8]) -> f32 {
    let most = largest(values);
    // The first of the largest, with its sign; sixteen are looked at a time, and most have none.
    let has_it = |part: &&[f32]| part.iter().fold(false, |found, v| found | (v.abs() == most));
    let part = values.chunks(16).filter(|_| most > 0.0).find(has_it).unwrap_or_default();
    let Some(&max) = part.iter().find(|v| v.abs() == most) else {
        quants.fill(0);
        return most;
    };
    let inverse = -127.0 / max;
    for (q, v) in quants.iter_mut().zip(values) {
        *q = round(inverse * v).min(127) as i8;
    }
    1.0 / inverse
}

/// To 8 bits with one scale for 32 values, and that exactly as ggml's Q8_0 on x86.
fn q8_0(values: &[f32], quants: &mut [i8]) -> f32 {
    let most = largest(values);
    let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
    for (q, v) in quants.iter_mut().zip(values) {
        *q = round(inverse * v) as i8;
    }
    half::to_f32(half::from_f32(most / 127.0))
}

/// The largest absolute value; NaN where one is not finite, which every product then is.
fn largest(values: &[f32]) -> f32 {
    // Of numbers without a sign the bits are in order, and of integers the compiler finds the largest many at a time.
    let most = values.iter().map(|v| v.to_bits() & 0x7fff_ffff).max().unwrap_or(0);
    if most < f32::INFINITY.to_bits() { f32::from_bits(most) } else { f32::NAN }
}

/// To the nearest integer, halves to the even one; of values below 2²².
fn round(v: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (v + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}
