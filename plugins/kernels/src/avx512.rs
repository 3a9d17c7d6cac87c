//! Sixteen rows at a time: AVX-512 with VNNI, which multiplies 64 bytes and adds them up in one instruction.

use std::arch::x86_64::*;

use crate::lanes::Lanes;

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// Bytes 16, for each bit of a number of four.
#[rustfmt::skip]
const SPREAD: [i32; 16] = [
    0x0000_0000, 0x0000_0010, 0x0000_1000, 0x0000_1010, 0x0010_0000, 0x0010_0010, 0x0010_1000, 0x0010_1010,
    0x1000_0000, 0x1000_0010, 0x1000_1000, 0x1000_1010, 0x1010_0000, 0x1010_0010, 0x1010_1000, 0x1010_1010,
];

impl Lanes for Avx512 {
    const ROWS: usize = 16;
    // The product with 16 times a weight costs nothing, and shifting it would.
    const HIGH: f32 = 1.0 / 16.0;
    const OFFSET8: bool = true;

    type Int = __m512i;
    type Float = __m512;

    #[inline(always)]
    unsafe fn dwords(rows: &[*const u8], offset: usize) -> [__m512i; 4] {
        // SAFETY: the caller has the instructions and may read the rows there.
        unsafe {
            let load = |row: usize| _mm_loadu_si128(rows[row].add(offset).cast());
            let four = |row: usize| {
                let v = _mm512_castsi128_si512(load(row));
                let v = _mm512_inserti32x4::<1>(v, load(row + 4));
                let v = _mm512_inserti32x4::<2>(v, load(row + 8));
                _mm512_inserti32x4::<3>(v, load(row + 12))
            };
            let (a, b, c, d) = (four(0), four(1), four(2), four(3));
            let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (ab2, cd2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            [
                _mm512_unpacklo_epi64(ab, cd),
                _mm512_unpackhi_epi64(ab, cd),
                _mm512_unpacklo_epi64(ab2, cd2),
                _mm512_unpackhi_epi64(ab2, cd2),
            ]
        }
    }

    #[inline(always)]
    unsafe fn dword(rows: &[*const u8], offset: usize) -> __m512i {
        // SAFETY: the caller has the instructions and may read the rows there.
        unsafe {
            let mut v = _mm512_setzero_si512();
            for (lane, row) in rows[..16].iter().enumerate() {
                let value = row.add(offset).cast::<i32>().read_unaligned();
                v = _mm512_mask_set1_epi32(v, 1 << lane, value);
            }
            v
        }
    }

    #[inline(always)]
    unsafe fn splat(value: i32) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn and(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    unsafe fn merge(a: __m512i, mask: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_ternarylogic_epi32::<0b1110_1010>(a, mask, b) }
    }

    #[inline(always)]
    unsafe fn shift_right<const N: u32>(a: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_srli_epi32::<N>(a) }
    }

    #[inline(always)]
    unsafe fn shift_left<const N: u32>(a: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_slli_epi32::<N>(a) }
    }

    #[inline(always)]
    unsafe fn shift_right_signed<const N: u32>(a: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_srai_epi32::<N>(a) }
    }

    #[inline(always)]
    unsafe fn high_nibbles(a: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_and_si512(a, _mm512_set1_epi32(0xf0f0_f0f0_u32 as i32)) }
    }

    #[inline(always)]
    unsafe fn spread_bits<const I: u32>(a: __m512i) -> __m512i {
        // SAFETY: the caller has the instructions.
        unsafe {
            let bits = match I {
                0 => a,
                1 => _mm512_srli_epi32::<4>(a),
                2 => _mm512_srli_epi32::<8>(a),
                3 => _mm512_srli_epi32::<12>(a),
                4 => _mm512_srli_epi32::<16>(a),
                5 => _mm512_srli_epi32::<20>(a),
                6 => _mm512_srli_epi32::<24>(a),
                _ => _mm512_srli_epi32::<28>(a),
            };
            // Looks at the lowest four bits of an index.
            _mm512_permutexvar_epi32(bits, _mm512_loadu_si512(SPREAD.as_ptr().cast()))
        }
    }

    #[inline(always)]
    unsafe fn dot<const N: usize, const BITS: u32>(start: i32, w: &[__m512i; N], x: *const i8) -> __m512i {
        // SAFETY: the caller has the instructions and may read 4 × N bytes.
        unsafe {
            let mut sum = _mm512_set1_epi32(start);
            for (i, &w) in w.iter().enumerate() {
                sum = _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(x.cast::<i32>().add(i).read_unaligned()));
            }
            sum
        }
    }

    #[inline(always)]
    unsafe fn dot8<const N: usize>(start: i32, w: &[__m512i; N], x: *const i8) -> __m512i {
        // SAFETY: as of the function called.
        unsafe {
            let flip = _mm512_set1_epi32(0x8080_8080_u32 as i32);
            Self::dot::<N, 8>(start, &w.map(|w| _mm512_xor_si512(w, flip)), x)
        }
    }

    #[inline(always)]
    unsafe fn dot16<const N: usize>(w: &[__m512i; N], x: *const i32) -> __m512i {
        // SAFETY: the caller has the instructions and may read N numbers.
        unsafe {
            let mut sum = _mm512_setzero_si512();
            for (i, &w) in w.iter().enumerate() {
                sum = _mm512_dpwssd_epi32(sum, w, _mm512_set1_epi32(x.add(i).read()));
            }
            sum
        }
    }

    #[inline(always)]
    unsafe fn float(a: __m512i) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_cvtepi32_ps(a) }
    }

    #[inline(always)]
    unsafe fn low_half(a: __m512i) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)) }
    }

    #[inline(always)]
    unsafe fn high_half(a: __m512i) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { Self::low_half(_mm512_srli_epi32::<16>(a)) }
    }

    #[inline(always)]
    unsafe fn as_float(a: __m512i) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_castsi512_ps(a) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn splat_float(value: f32) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn store(a: __m512, to: *mut f32) {
        // SAFETY: the caller has the instructions and may write 16 numbers.
        unsafe { _mm512_storeu_ps(to, a) }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: a prefetch reads nothing that a program sees, from wherever it is.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}
