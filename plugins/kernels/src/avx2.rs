//! Eight rows at a time: AVX2, with or without VNNI for vectors of its size.

use std::arch::x86_64::*;

use crate::lanes::Lanes;

/// `VNNI`: with the instruction that multiplies bytes and adds them up.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>;

impl<const VNNI: bool> Lanes for Avx2<VNNI> {
    const ROWS: usize = 8;
    const HIGH: f32 = 1.0;
    const OFFSET8: bool = VNNI;

    type Int = __m256i;
    type Float = __m256;

    #[inline(always)]
    unsafe fn dwords(rows: &[*const u8], offset: usize) -> [__m256i; 4] {
        // SAFETY: the caller has the instructions and may read the rows there.
        unsafe {
            let load = |row: usize| _mm_loadu_si128(rows[row].add(offset).cast());
            let two = |row: usize| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(row)), load(row + 4));
            let (a, b, c, d) = (two(0), two(1), two(2), two(3));
            let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
            let (ab2, cd2) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
            [
                _mm256_unpacklo_epi64(ab, cd),
                _mm256_unpackhi_epi64(ab, cd),
                _mm256_unpacklo_epi64(ab2, cd2),
                _mm256_unpackhi_epi64(ab2, cd2),
            ]
        }
    }

    #[inline(always)]
    unsafe fn dword(rows: &[*const u8], offset: usize) -> __m256i {
        // SAFETY: the caller has the instructions and may read the rows there.
        unsafe {
            let load = |row: usize| rows[row].add(offset).cast::<i32>().read_unaligned();
            _mm256_setr_epi32(load(0), load(1), load(2), load(3), load(4), load(5), load(6), load(7))
        }
    }

    #[inline(always)]
    unsafe fn splat(value: i32) -> __m256i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn and(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_and_si256(a, b) }
    }

    #[inline(always)]
    unsafe fn merge(a: __m256i, mask: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_or_si256(_mm256_and_si256(a, mask), b) }
    }

    #[inline(always)]
    unsafe fn shift_right<const N: u32>(a: __m256i) -> __m256i {
        // SAFETY: the caller has the instructions. The compiler makes the count an immediate.
        unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(N as i32)) }
    }

    #[inline(always)]
    unsafe fn shift_left<const N: u32>(a: __m256i) -> __m256i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_sll_epi32(a, _mm_cvtsi32_si128(N as i32)) }
    }

    #[inline(always)]
    unsafe fn shift_right_signed<const N: u32>(a: __m256i) -> __m256i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_sra_epi32(a, _mm_cvtsi32_si128(N as i32)) }
    }

    #[inline(always)]
    unsafe fn high_nibbles(a: __m256i) -> __m256i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_and_si256(_mm256_srli_epi32::<4>(a), _mm256_set1_epi32(0x0f0f_0f0f)) }
    }

    #[inline(always)]
    unsafe fn spread_bits<const I: u32>(a: __m256i) -> __m256i {
        // SAFETY: the caller has the instructions.
        unsafe {
            // The byte that holds the four bits to all bytes of its lane, and of each its own bit.
            let first = (I / 2) as i32 * 0x0101_0101;
            let bytes = _mm256_add_epi32(
                _mm256_set1_epi32(first),
                _mm256_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c, 0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c),
            );
            let bit = _mm256_set1_epi32(if I.is_multiple_of(2) { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
            let spread = _mm256_and_si256(_mm256_shuffle_epi8(a, bytes), bit);
            _mm256_and_si256(_mm256_cmpeq_epi8(spread, bit), _mm256_set1_epi32(0x1010_1010))
        }
    }

    #[inline(always)]
    unsafe fn dot<const N: usize, const BITS: u32>(start: i32, w: &[__m256i; N], x: *const i8) -> __m256i {
        // SAFETY: the caller has the instructions and may read 4 × N bytes.
        unsafe {
            let at = |i: usize| _mm256_set1_epi32(x.cast::<i32>().add(i).read_unaligned());
            let mut sum = _mm256_set1_epi32(start);
            if VNNI {
                for (i, &w) in w.iter().enumerate() {
                    sum = _mm256_dpbusd_avx_epi32(sum, w, at(i));
                }
                return sum;
            }
            // So many sums of two products fit into 16 bits: 8, 4 and 2 of them for 4, 5 and 6 bits.
            let fit = const { 1 << (7 - BITS) };
            for first in (0..N).step_by(fit) {
                let mut pairs = _mm256_setzero_si256();
                for (i, &w) in w.iter().enumerate().take(first + fit).skip(first) {
                    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w, at(i)));
                }
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
            sum
        }
    }

    #[inline(always)]
    unsafe fn dot8<const N: usize>(start: i32, w: &[__m256i; N], x: *const i8) -> __m256i {
        // SAFETY: the caller has the instructions and may read 4 × N bytes.
        unsafe {
            let at = |i: usize| _mm256_set1_epi32(x.cast::<i32>().add(i).read_unaligned());
            let mut sum = _mm256_set1_epi32(start);
            for (i, &w) in w.iter().enumerate() {
                if VNNI {
                    sum = _mm256_dpbusd_avx_epi32(sum, _mm256_xor_si256(w, _mm256_set1_epi8(-128)), at(i));
                } else {
                    // |w| · (x with the sign of w)
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(at(i), w));
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                }
            }
            sum
        }
    }

    #[inline(always)]
    unsafe fn dot16<const N: usize>(w: &[__m256i; N], x: *const i32) -> __m256i {
        // SAFETY: the caller has the instructions and may read N numbers.
        unsafe {
            let mut sum = _mm256_setzero_si256();
            for (i, &w) in w.iter().enumerate() {
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(w, _mm256_set1_epi32(x.add(i).read())));
            }
            sum
        }
    }

    #[inline(always)]
    unsafe fn float(a: __m256i) -> __m256 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_cvtepi32_ps(a) }
    }

    #[inline(always)]
    unsafe fn low_half(a: __m256i) -> __m256 {
        // SAFETY: the caller has the instructions.
        unsafe {
            let low = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(low, low));
            _mm256_cvtph_ps(_mm256_castsi256_si128(packed))
        }
    }

    #[inline(always)]
    unsafe fn high_half(a: __m256i) -> __m256 {
        // SAFETY: the caller has the instructions.
        unsafe { Self::low_half(_mm256_srli_epi32::<16>(a)) }
    }

    #[inline(always)]
    unsafe fn as_float(a: __m256i) -> __m256 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_castsi256_ps(a) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn splat_float(value: f32) -> __m256 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn store(a: __m256, to: *mut f32) {
        // SAFETY: the caller has the instructions and may write 8 numbers.
        unsafe { _mm256_storeu_ps(to, a) }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: a prefetch reads nothing that a program sees, from wherever it is.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}
