//! What the kernels compute, one row by one column and without vectors: they are held to it bit by bit.

use crate::activations::Tile;
use crate::half;
use crate::kind::Kind;

/// Dwords of floats whose products are summed up before they are added to the others: sums of few are rounded less.
pub(crate) const FLOATS_AT_ONCE: usize = 32;

/// The product of a row with a column of a tile.
pub(crate) fn dot(kind: Kind, row: &[u8], tile: &Tile<'_>, column: usize) -> f32 {
    if kind.is_float() {
        return floats(kind, row, tile, column);
    }
    let mut sum = 0.0;
    for (b, block) in row.chunks_exact(kind.block_bytes()).enumerate() {
        let at = b * tile.n_columns + column;
        let x = &tile.quants[at * kind.block_len()..][..kind.block_len()];
        let scale = tile.floats[at];
        sum = match kind {
            Kind::Q4_0 | Kind::Q5_0 | Kind::Q8_0 => {
                let (d, weights) = small(kind, block);
                f32::mul_add(product(&weights, x) as f32, d * scale, sum)
            }
            Kind::Q4K | Kind::Q5K => f32::mul_add(with_minima(kind, block, x), scale, sum),
            _ => f32::mul_add(six(block, x), scale, sum),
        };
    }
    sum
}

/// Of weights that are floats.
fn floats(kind: Kind, row: &[u8], tile: &Tile<'_>, column: usize) -> f32 {
    let weight = |i: usize| float(kind, row, i);
    let per_dword = kind.block_len();
    let value = |i: usize| tile.floats[i * tile.n_columns + column];
    let mut sum = 0.0;
    let n = row.len() / 4 * per_dword;
    for first in (0..n).step_by(FLOATS_AT_ONCE * per_dword) {
        let part = (first..n.min(first + FLOATS_AT_ONCE * per_dword))
            .fold(0.0, |part, i| f32::mul_add(weight(i), value(i), part));
        sum += part;
    }
    sum
}

/// A weight that is a float.
pub(crate) fn float(kind: Kind, row: &[u8], i: usize) -> f32 {
    match kind {
        Kind::F32 => f32::from_le_bytes(row[4 * i..][..4].try_into().expect("four bytes")),
        Kind::F16 => half_at(row, 2 * i),
        _ => f32::from_bits(u32::from(row[2 * i]) << 16 | u32::from(row[2 * i + 1]) << 24),
    }
}

fn product(weights: &[i32], x: &[i8]) -> i32 {
    weights.iter().zip(x).map(|(w, &x)| w * i32::from(x)).sum()
}

pub(crate) fn half_at(block: &[u8], at: usize) -> f32 {
    half::to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// The scale of a block of 32, and its weights.
pub(crate) fn small(kind: Kind, block: &[u8]) -> (f32, [i32; 32]) {
    let quants = &block[if kind == Kind::Q5_0 { 6 } else { 2 }..];
    let nibble = |i: usize| i32::from(quants[i % 16] >> (4 * (i / 16)) & 15);
    let weights = std::array::from_fn(|i| match kind {
        Kind::Q4_0 => nibble(i) - 8,
        Kind::Q5_0 => (nibble(i) | i32::from(block[2 + i / 8] >> (i % 8) & 1) << 4) - 16,
        _ => i32::from(quants[i] as i8),
    });
    (half_at(block, 0), weights)
}

/// A block of `Q4_K` or `Q5_K`: 8 groups of 32 weights, each with a scale and a minimum.
pub(crate) struct WithMinima<'a> {
    kind: Kind,
    block: &'a [u8],
}

impl<'a> WithMinima<'a> {
    pub fn new(kind: Kind, block: &'a [u8]) -> Self {
        Self { kind, block }
    }

    /// What the scales and the minima are multiples of.
    pub fn units(&self) -> (f32, f32) {
        (half_at(self.block, 0), half_at(self.block, 2))
    }

    pub fn scale(&self, j: usize) -> u8 {
        let s = &self.block[4..16];
        if j < 4 { s[j] & 63 } else { s[j + 4] & 15 | s[j - 4] >> 6 << 4 }
    }

    pub fn minimum(&self, j: usize) -> u8 {
        let s = &self.block[4..16];
        if j < 4 { s[j + 4] & 63 } else { s[j + 4] >> 4 | s[j] >> 6 << 4 }
    }

    pub fn weight(&self, i: usize) -> i32 {
        let (j, in_group) = (i / 32, i % 32);
        let quants = &self.block[if self.kind == Kind::Q5K { 48 } else { 16 }..];
        let nibble = quants[j / 2 * 32 + in_group] >> (4 * (j % 2)) & 15;
        let bit = if self.kind == Kind::Q5K { self.block[16 + in_group] >> j & 1 } else { 0 };
        i32::from(nibble | bit << 4)
    }
}

/// The same, but for the scale of its activations.
fn with_minima(kind: Kind, block: &[u8], x: &[i8]) -> f32 {
    let block = WithMinima::new(kind, block);
    let (d, d_min) = block.units();
    let minima: i32 = (0..8)
        .map(|j| i32::from(block.minimum(j)) * x[32 * j..][..32].iter().map(|&x| i32::from(x)).sum::<i32>())
        .sum();
    let mut sum = -d_min * minima as f32;
    for j in 0..8 {
        let weights: Vec<i32> = (32 * j..32 * (j + 1)).map(|i| block.weight(i)).collect();
        sum = f32::mul_add(product(&weights, &x[32 * j..]) as f32, d * f32::from(block.scale(j)), sum);
    }
    sum
}

/// A block of `Q6_K`: 16 groups of 16 weights, each with a scale.
pub(crate) struct Six<'a>(pub &'a [u8]);

impl Six<'_> {
    /// What the scales are multiples of.
    pub fn unit(&self) -> f32 {
        half_at(self.0, 208)
    }

    pub fn scale(&self, j: usize) -> i8 {
        self.0[192 + j] as i8
    }

    pub fn weight(&self, i: usize) -> i32 {
        let (half, quarter, l) = (i / 128, i % 128 / 32, i % 32);
        let nibble = self.0[64 * half + 32 * (quarter % 2) + l] >> (4 * (quarter / 2)) & 15;
        i32::from(nibble | (self.0[128 + 32 * half + l] >> (2 * quarter) & 3) << 4) - 32
    }
}

/// The same, but for the scale of its activations.
fn six(block: &[u8], x: &[i8]) -> f32 {
    let block = Six(block);
    let d = block.unit();
    let mut sum = 0.0;
    for half in 0..2 {
        // In the order in which the bytes lie: both quarters of the first 32 come before the others.
        for quarter in [0, 2, 1, 3] {
            for j in [8 * half + 2 * quarter, 8 * half + 2 * quarter + 1] {
                let weights: Vec<i32> = (16 * j..16 * (j + 1)).map(|i| block.weight(i)).collect();
                sum = f32::mul_add(product(&weights, &x[16 * j..]) as f32, d * f32::from(block.scale(j)), sum);
            }
        }
    }
    sum
}
