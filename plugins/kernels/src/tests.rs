//! Every instruction set against the scalar reference, bit by bit.

use proptest::prelude::*;

use super::*;

/// A matrix of random blocks with scales that are numbers.
fn random_matrix(kind: Kind, n_rows: usize, n: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut bytes: Vec<u8> = (0..n_rows * kind.row_bytes(n)).map(|_| next() as u8).collect();
    for block in bytes.chunks_exact_mut(kind.block_bytes()) {
        let halves: &[usize] = match kind {
            Kind::Q4K | Kind::Q5K | Kind::F16 | Kind::Bf16 => &[0, 2],
            Kind::Q6K => &[208],
            // Its upper half is the beginning of a number.
            Kind::F32 => &[2],
            Kind::Q4_0 | Kind::Q5_0 | Kind::Q8_0 => &[0],
        };
        for &at in halves {
            // Between 2⁻¹⁵ and 1, of either sign, or too small to be normal.
            let bits = (next() % 0x3c00) as u16 | ((next() & 1) as u16) << 15;
            block[at..at + 2].copy_from_slice(&bits.to_le_bytes());
        }
    }
    bytes
}

fn random_columns(n: usize, n_columns: usize, seed: u64) -> Vec<f32> {
    let mut state = seed | 1;
    (0..n * n_columns)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * 3.0
        })
        .collect()
}

fn multiplied(isa: Option<Isa>, kind: Kind, data: &[u8], n: usize, n_rows: usize, columns: &Activations) -> Vec<f32> {
    let mut results = vec![f32::NAN; n_rows * columns.n_columns()];
    let matrix = Matrix { kind, data, stride: kind.row_bytes(n), n_rows };
    let to = Output { at: results.as_mut_ptr(), stride: n_rows };
    // SAFETY: room for all rows of all columns.
    unsafe { multiply(isa, matrix, 0..n_rows, columns, to) };
    results
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_instruction_set_gives_the_bits_of_the_reference(
        kind in prop::sample::select(&Kind::ALL[..]),
        n_blocks in 1_usize..5,
        n_dwords in 1_usize..100,
        n_rows in 1_usize..40,
        n_columns in 1_usize..20,
        seed in any::<u64>(),
    ) {
        let n = if kind.is_float() { n_dwords * kind.block_len() } else { n_blocks * 256 };
        let data = random_matrix(kind, n_rows, n, seed);
        let mut columns = Activations::default();
        columns.quantise(kind, &random_columns(n, n_columns, seed), n, n, n_columns);
        let expected = bits(&multiplied(None, kind, &data, n, n_rows, &columns));
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            prop_assert_eq!(&bits(&multiplied(Some(isa), kind, &data, n, n_rows, &columns)), &expected, "{}", isa.name());
        }
    }

    #[test]
    fn a_column_has_the_same_bits_beside_others(
        kind in prop::sample::select(&Kind::ALL[..]),
        n_columns in 2_usize..20,
        seed in any::<u64>(),
    ) {
        let (n, n_rows) = (512, 24);
        let data = random_matrix(kind, n_rows, n, seed);
        let values = random_columns(n, n_columns, seed);
        let mut columns = Activations::default();
        columns.quantise(kind, &values, n, n, n_columns);
        let together = multiplied(Isa::best(), kind, &data, n, n_rows, &columns);
        for column in 0..n_columns {
            columns.quantise(kind, &values[column * n..], n, n, 1);
            let alone = multiplied(Isa::best(), kind, &data, n, n_rows, &columns);
            prop_assert_eq!(bits(&alone), bits(&together[column * n_rows..][..n_rows]));
        }
    }
}

#[test]
fn every_half_is_read_and_written_back() {
    for bits in 0..=u16::MAX {
        let value = half::to_f32(bits);
        if value.is_nan() {
            assert!(half::to_f32(half::from_f32(value)).is_nan());
        } else {
            assert_eq!(half::from_f32(value), bits, "{value}");
        }
    }
}

#[test]
fn what_is_not_finite_shows_in_every_row() {
    let n = 256;
    for kind in Kind::ALL {
        let data = random_matrix(kind, 16, n, 1);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = random_columns(n, 1, 2);
            values[200] = bad;
            let mut columns = Activations::default();
            columns.quantise(kind, &values, n, n, 1);
            let results = multiplied(Isa::best(), kind, &data, n, 16, &columns);
            assert!(results.iter().all(|v| !v.is_finite()), "{} {bad}", kind.name());
        }
    }
}
