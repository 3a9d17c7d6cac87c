//! Products with columns as they are: weights are decoded to floats, and no column is rounded to 8 bits.
//!
//! Slow. It is what the kernels' rounding, and ggml's, is measured against.

use std::cell::RefCell;
use std::ops::Range;

use crate::kind::Kind;
use crate::reference::{Six, WithMinima, float, small};
use crate::{Matrix, Output};

/// Products whose sums are kept apart, so that the compiler computes them together.
const LANES: usize = 16;

/// Columns of `n` floats each, one every `stride` floats.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    pub values: &'a [f32],
    pub n: usize,
    pub stride: usize,
    pub n_columns: usize,
}

thread_local! {
    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Decodes a row of whole blocks.
///
/// # Panics
/// Where the row has not as many weights as there is room for.
pub fn decode(kind: Kind, row: &[u8], to: &mut [f32]) {
    assert_eq!(row.len(), kind.row_bytes(to.len()), "bytes of a row");
    if kind.is_float() {
        to.iter_mut().enumerate().for_each(|(i, weight)| *weight = float(kind, row, i));
        return;
    }
    for (block, to) in row.chunks_exact(kind.block_bytes()).zip(to.chunks_exact_mut(kind.block_len())) {
        match kind {
            Kind::Q4_0 | Kind::Q5_0 | Kind::Q8_0 => {
                let (d, weights) = small(kind, block);
                to.iter_mut().zip(weights).for_each(|(to, weight)| *to = d * weight as f32);
            }
            Kind::Q4K | Kind::Q5K => {
                let block = WithMinima::new(kind, block);
                let (d, d_min) = block.units();
                for (j, to) in to.chunks_exact_mut(32).enumerate() {
                    let (scale, minimum) = (d * f32::from(block.scale(j)), d_min * f32::from(block.minimum(j)));
                    let weights = (32 * j..).map(|i| block.weight(i));
                    to.iter_mut().zip(weights).for_each(|(to, weight)| *to = scale * weight as f32 - minimum);
                }
            }
            _ => {
                let block = Six(block);
                for (j, to) in to.chunks_exact_mut(16).enumerate() {
                    let scale = block.unit() * f32::from(block.scale(j));
                    let weights = (16 * j..).map(|i| block.weight(i));
                    to.iter_mut().zip(weights).for_each(|(to, weight)| *to = scale * weight as f32);
                }
            }
        }
    }
}

/// Multiplies some rows of a matrix by all columns.
///
/// # Panics
/// Where the rows are not in the matrix, or the columns end before the last one does.
///
/// # Safety
/// `to` can be written for these rows of every column, and nobody else writes there meanwhile.
pub unsafe fn multiply(matrix: Matrix<'_>, rows: Range<usize>, columns: Columns<'_>, to: Output) {
    let Columns { values, n, stride, n_columns } = columns;
    ROW.with_borrow_mut(|decoded| {
        decoded.resize(n, 0.0);
        for row in rows {
            decode(matrix.kind, &matrix.data[row * matrix.stride..][..matrix.kind.row_bytes(n)], decoded);
            for column in 0..n_columns {
                let sum = dot(decoded, &values[column * stride..][..n]);
                // SAFETY: as the caller promises.
                unsafe { *to.at.add(column * to.stride + row) = sum };
            }
        }
    });
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (whole, rest) = (a.chunks_exact(LANES), a.chunks_exact(LANES).remainder());
    for (a, b) in whole.zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] = f32::mul_add(a[lane], b[lane], sums[lane]);
        }
    }
    let of_rest = rest.iter().zip(&b[b.len() - rest.len()..]).map(|(a, b)| f64::from(*a) * f64::from(*b));
    (sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + of_rest.sum::<f64>()) as f32
}
