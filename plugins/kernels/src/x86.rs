//! The algorithm, compiled for each instruction set and each number of columns.

use crate::activations::Tile;
use crate::avx2::Avx2;
use crate::avx512::Avx512;
use crate::isa::Isa;
use crate::kind::Kind;
use crate::lanes::Lanes;
use crate::panel::{self, Panel};

/// The most rows of any panel.
const MAX_ROWS: usize = 16;

/// A panel by a tile: writes row `r` of column `c` to `to + c × stride + r`, for the first `n_rows` rows.
///
/// # Safety
/// The instruction set is here; rows and tile are as [`panel::multiply`] has it, and `to` may be written.
pub(crate) unsafe fn multiply(
    isa: Isa,
    kind: Kind,
    panel: Panel<'_>,
    tile: &Tile<'_>,
    n_rows: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: as the caller promises.
    unsafe {
        match isa {
            Isa::Avx2 => avx2(kind, panel, tile, n_rows, to, stride),
            Isa::AvxVnni => avx_vnni(kind, panel, tile, n_rows, to, stride),
            Isa::Avx512Vnni => avx512_vnni(kind, panel, tile, n_rows, to, stride),
        }
    }
}

macro_rules! compiled {
    ($name:ident, $lanes:ty, $features:literal) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(kind: Kind, panel: Panel<'_>, tile: &Tile<'_>, n_rows: usize, to: *mut f32, stride: usize) {
            // SAFETY: as the caller promises.
            unsafe {
                match tile.n_columns {
                    1 => store::<$lanes, 1>(kind, panel, tile, n_rows, to, stride),
                    2 => store::<$lanes, 2>(kind, panel, tile, n_rows, to, stride),
                    3 => store::<$lanes, 3>(kind, panel, tile, n_rows, to, stride),
                    4 => store::<$lanes, 4>(kind, panel, tile, n_rows, to, stride),
                    5 => store::<$lanes, 5>(kind, panel, tile, n_rows, to, stride),
                    6 => store::<$lanes, 6>(kind, panel, tile, n_rows, to, stride),
                    7 => store::<$lanes, 7>(kind, panel, tile, n_rows, to, stride),
                    _ => store::<$lanes, 8>(kind, panel, tile, n_rows, to, stride),
                }
            }
        }
    };
}
compiled!(avx2, Avx2<false>, "avx2,fma,f16c");
compiled!(avx_vnni, Avx2<true>, "avx2,fma,f16c,avxvnni");
compiled!(avx512_vnni, Avx512, "avx2,fma,f16c,avx512f,avx512bw,avx512vnni");

#[inline(always)]
unsafe fn store<V: Lanes, const K: usize>(
    kind: Kind,
    panel: Panel<'_>,
    tile: &Tile<'_>,
    n_rows: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: as the caller of `multiply` promises.
    unsafe {
        let sums = panel::multiply::<V, K>(kind, panel, tile);
        for (column, sum) in sums.into_iter().enumerate() {
            let to = to.add(column * stride);
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
