//! Sizes for people, written as llama.cpp writes them: two decimals and a unit.

/// Bytes in KiB, MiB or GiB.
#[must_use]
pub fn bytes(n: u64) -> String {
    scaled(n as f64, [1024_f64.powi(3), 1024_f64.powi(2), 1024.0], ["GiB", "MiB", "KiB"])
}

/// Parameters of a model, in thousands, millions or billions.
#[must_use]
pub fn parameters(n: u64) -> String {
    scaled(n as f64, [1e9, 1e6, 1e3], ["B", "M", "K"])
}

/// By the largest scale that is reached once it is rounded, else by the smallest.
fn scaled(n: f64, scales: [f64; 3], units: [&str; 3]) -> String {
    let place = scales.iter().position(|scale| n / scale >= 0.999_995).unwrap_or(scales.len() - 1);
    format!("{:.2} {}", n / scales[place], units[place])
}

#[cfg(test)]
mod tests {
    use super::{bytes, parameters};

    #[test]
    fn sizes_have_one_spelling() {
        for (n, expected) in [
            (0, "0.00 KiB"),
            (512, "0.50 KiB"),
            (1 << 20, "1.00 MiB"),
            ((1 << 20) - 1, "1.00 MiB"),
            (1_117_320_768, "1.04 GiB"),
        ] {
            assert_eq!(bytes(n), expected);
        }
        for (n, expected) in
            [(900, "0.90 K"), (8_929_280, "8.93 M"), (1_777_088_000, "1.78 B"), (999_999_999, "1.00 B")]
        {
            assert_eq!(parameters(n), expected);
        }
    }
}
