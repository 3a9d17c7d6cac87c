//! The algorithm, once for every instruction set: a panel of rows by a tile of columns.
//!
//! A lane belongs to a row. Sixteen bytes of each row are transposed, so that a vector holds four neighbouring weights of
//! every row; decoded once, they are multiplied into every column of the tile. Sums of integers are exact, and the sums of
//! floats run down a row in one order, whatever the number of rows, columns and lanes: so a result has the same bits from
//! every instruction set and for every number of columns.

mod blocks_of_256;
mod blocks_of_32;
mod floats;

use blocks_of_32::{Q4_0, Q5_0, Q8_0};
use blocks_of_256::{Q4K, Q5K, Q6K};
use floats::{Bf16, F16, F32, floats};

use crate::activations::Tile;
use crate::kind::Kind;
use crate::lanes::Lanes;

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

/// The lower half of each byte.
const LOW: i32 = 0x0f0f_0f0f;
