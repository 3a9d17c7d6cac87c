//! What an instruction set has to do for the kernels: rows of the matrix side by side, one in a lane.

/// A vector of 32-bit lanes, each of which belongs to one row.
///
/// # Safety
/// Every function needs the instruction set that the implementation is for, and pointers that may be read as far as it says.
pub(crate) trait Lanes: Copy {
    /// Rows at a time.
    const ROWS: usize;
    /// What [`high_nibbles`](Self::high_nibbles) are too large by is the inverse of this; a power of two.
    const HIGH: f32;
    /// Whether [`dot8`](Self::dot8) takes its weights 128 too large, and its start with that in mind.
    const OFFSET8: bool;

    type Int: Copy;
    type Float: Copy;

    /// Sixteen bytes of each row, as the four dwords that they are.
    unsafe fn dwords(rows: &[*const u8], offset: usize) -> [Self::Int; 4];
    /// Four bytes of each row.
    unsafe fn dword(rows: &[*const u8], offset: usize) -> Self::Int;

    unsafe fn splat(value: i32) -> Self::Int;
    unsafe fn and(a: Self::Int, b: Self::Int) -> Self::Int;
    /// `a & mask | b`
    unsafe fn merge(a: Self::Int, mask: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn shift_right<const N: u32>(a: Self::Int) -> Self::Int;
    unsafe fn shift_left<const N: u32>(a: Self::Int) -> Self::Int;
    /// With its sign.
    unsafe fn shift_right_signed<const N: u32>(a: Self::Int) -> Self::Int;
    /// The upper half of each byte, where it is or shifted down.
    unsafe fn high_nibbles(a: Self::Int) -> Self::Int;
    /// 16 in each of four bytes whose bit is set, of the lowest four bits from `4 × I` on.
    unsafe fn spread_bits<const I: u32>(a: Self::Int) -> Self::Int;

    /// `start + Σ w · x` over `4 × N` bytes: `w` unsigned, of at most `BITS` bits, and `x` of the column, alike in all lanes.
    unsafe fn dot<const N: usize, const BITS: u32>(start: i32, w: &[Self::Int; N], x: *const i8) -> Self::Int;
    /// The same of signed weights of 8 bits.
    unsafe fn dot8<const N: usize>(start: i32, w: &[Self::Int; N], x: *const i8) -> Self::Int;
    /// `Σ w · x` over `2 × N` numbers of 16 bits, signed.
    unsafe fn dot16<const N: usize>(w: &[Self::Int; N], x: *const i32) -> Self::Int;

    unsafe fn float(a: Self::Int) -> Self::Float;
    /// A number of 16 bits from the lower half of each lane.
    unsafe fn low_half(a: Self::Int) -> Self::Float;
    /// A number of 16 bits from the upper half of each lane.
    unsafe fn high_half(a: Self::Int) -> Self::Float;
    /// The bits of floats.
    unsafe fn as_float(a: Self::Int) -> Self::Float;
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn splat_float(value: f32) -> Self::Float;
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float;
    /// `a · b + c`, rounded once.
    unsafe fn mul_add(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float;
    /// `ROWS` numbers.
    unsafe fn store(a: Self::Float, to: *mut f32);
    unsafe fn prefetch(at: *const u8);
}
