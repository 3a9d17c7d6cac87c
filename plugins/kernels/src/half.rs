//! IEEE 754 numbers of 16 bits, as scales are stored.

/// Exact.
pub(crate) fn to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    match exponent {
        // 2⁻²⁴ times the fraction.
        0 => f32::from_bits(sign) + f32::from_bits(sign | 0x3380_0000) * fraction as f32,
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// To the nearest, halves to the even one.
pub(crate) fn from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let size = bits & 0x7fff_ffff;
    sign | match size {
        // Not a number, which stays one.
        0x7f80_0001.. => 0x7e00,
        // From half the way to what would be the next number on.
        0x477f_f000.. => 0x7c00,
        // Below the least normal number: in units of 2⁻²⁴, rounded by an addition.
        ..0x3880_0000 => (f32::from_bits(size) + 0.5).to_bits() as u16,
        _ => {
            let rounded = size + 0xfff + (size >> 13 & 1);
            ((rounded - (112 << 23)) >> 13) as u16
        }
    }
}
