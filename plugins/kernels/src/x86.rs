//! The algorithm, compiled for each instruction set and each number of columns.

use crate::Output;
use crate::activations::Tile;
use crate::avx2::Avx2;
use crate::avx512::Avx512;
use crate::isa::Isa;
use crate::kind::Kind;
use crate::lanes::Lanes;
use crate::panel::{self, Panel};

/// The most rows of any panel.
const MAX_ROWS: usize = 16;

/// A panel by a tile, and where the results of the panel's first `n_rows` rows go.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub kind: Kind,
    pub panel: Panel<'a>,
    pub tile: Tile<'a>,
    pub n_rows: usize,
    pub to: Output,
}

/// # Safety
/// The instruction set is here; rows and tile are as [`panel::multiply`] has it, and `to` may be written.
pub(crate) unsafe fn multiply(isa: Isa, piece: Piece<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        match isa {
            Isa::Avx2 => avx2(piece),
            Isa::AvxVnni => avx_vnni(piece),
            Isa::Avx512Vnni => avx512_vnni(piece),
        }
    }
}

macro_rules! compiled {
    ($name:ident, $lanes:ty, $features:literal) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(piece: Piece<'_>) {
            // SAFETY: as the caller promises.
            unsafe {
                match piece.tile.n_columns {
                    1 => store::<$lanes, 1>(piece),
                    2 => store::<$lanes, 2>(piece),
                    3 => store::<$lanes, 3>(piece),
                    4 => store::<$lanes, 4>(piece),
                    5 => store::<$lanes, 5>(piece),
                    6 => store::<$lanes, 6>(piece),
                    7 => store::<$lanes, 7>(piece),
                    _ => store::<$lanes, 8>(piece),
                }
            }
        }
    };
}
compiled!(avx2, Avx2<false>, "avx2,fma,f16c");
compiled!(avx_vnni, Avx2<true>, "avx2,fma,f16c,avxvnni");
compiled!(avx512_vnni, Avx512, "avx2,fma,f16c,avx512f,avx512bw,avx512vnni");

#[inline(always)]
unsafe fn store<V: Lanes, const K: usize>(piece: Piece<'_>) {
    let Piece { kind, panel, tile, n_rows, to } = piece;
    // SAFETY: as the caller of `multiply` promises.
    unsafe {
        let sums = panel::multiply::<V, K>(kind, panel, &tile);
        for (column, sum) in sums.into_iter().enumerate() {
            let to = to.at.add(column * to.stride);
            if n_rows == V::ROWS {
                V::store(sum, to);
            } else {
                let mut rows = [0.0; MAX_ROWS];
                V::store(sum, rows.as_mut_ptr());
                to.copy_from_nonoverlapping(rows.as_ptr(), n_rows);
            }
        }
    }
}
