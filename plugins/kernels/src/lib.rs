//! Quantised matrices by a few columns: a block of weights is decoded once and multiplied into all of them.
//!
//! ggml's x86 kernels decode a block for every column anew. Here one more column costs its multiplications alone. A result
//! has the same bits whatever the number of columns, rows and threads and whichever instruction set computes it.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod exact;
pub mod ggml;
mod half;
mod isa;
mod kind;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod panel;
mod reference;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

pub use activations::Activations;
pub use isa::Isa;
pub use kind::Kind;

/// A matrix of weights: rows of whole blocks, `stride` bytes apart.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    pub kind: Kind,
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    pub n_rows: usize,
}

/// Where results go: row `r` of column `c` to `at + c × stride + r`.
///
/// Threads that multiply different rows of one matrix share it.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub at: *mut f32,
    pub stride: usize,
}

/// What a panel of rows may take up in the second-level cache, while tile after tile of columns passes it.
const GROUP_BYTES: usize = 1 << 19;

/// Multiplies some rows of a matrix by all columns, with an instruction set or, without one, by the scalar reference.
///
/// # Panics
/// Where the matrix is not as long as it says, its rows are not as long as the columns, these were made for another kind of
/// weights, the rows are not in it, or the instruction set is not here.
///
/// # Safety
/// `to` can be written for these rows of every column, and nobody else writes there meanwhile.
pub unsafe fn multiply(isa: Option<Isa>, matrix: Matrix<'_>, rows: Range<usize>, columns: &Activations, to: Output) {
    let Matrix { kind, data, stride, n_rows } = matrix;
    let row_bytes = kind.row_bytes(columns.n());
    assert_eq!(columns.kind(), Some(kind), "the columns' kind of weights, and the matrix's");
    assert!(rows.start <= rows.end && rows.end <= n_rows, "rows {rows:?} of {n_rows}");
    if rows.is_empty() {
        return;
    }
    assert!(row_bytes <= stride && stride * (n_rows - 1) + row_bytes <= data.len(), "the matrix is too short");
    let Some(isa) = isa else {
        // SAFETY: as the caller promises.
        return unsafe { by_reference(matrix, rows, columns, to) };
    };
    assert!(isa.is_here(), "{} is not here", isa.name());
    #[cfg(target_arch = "x86_64")]
    {
        let group = (GROUP_BYTES / (stride * isa.rows())).max(1) * isa.rows();
        for first in rows.clone().step_by(group) {
            let group = first..rows.end.min(first + group);
            let mut column = 0;
            for tile in columns.tiles(kind) {
                for first in group.clone().step_by(isa.rows()) {
                    let n = isa.rows().min(group.end - first);
                    // Lanes behind the last row compute it once more.
                    let pointers: [*const u8; 16] =
                        std::array::from_fn(|lane| data[(first + lane.min(n - 1)) * stride..].as_ptr());
                    let panel = panel::Panel {
                        rows: &pointers[..isa.rows()],
                        n_blocks: columns.n() / kind.block_len(),
                        next: data.as_ptr().wrapping_add((first + isa.rows()) * stride),
                    };
                    // SAFETY: the instructions are here, the rows lie within the matrix and have as many blocks as the
                    // columns, and the caller promises the rest.
                    unsafe {
                        let to = Output { at: to.at.add(column * to.stride + first), ..to };
                        x86::multiply(isa, x86::Piece { kind, panel, tile, n_rows: n, to });
                    }
                }
                column += tile.n_columns;
            }
        }
    }
}

unsafe fn by_reference(matrix: Matrix<'_>, rows: Range<usize>, columns: &Activations, to: Output) {
    let mut first = 0;
    for tile in columns.tiles(matrix.kind) {
        for row in rows.clone() {
            let weights = &matrix.data[row * matrix.stride..][..matrix.kind.row_bytes(columns.n())];
            for column in 0..tile.n_columns {
                // SAFETY: as the caller promises.
                unsafe {
                    *to.at.add((first + column) * to.stride + row) =
                        reference::dot(matrix.kind, weights, &tile, column);
                }
            }
        }
        first += tile.n_columns;
    }
}
