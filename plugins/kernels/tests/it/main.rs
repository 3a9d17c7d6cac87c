//! Beside ggml itself: what it quantises, and what it multiplies.

use std::ffi::c_void;

use llama_cpp_sys_2 as sys;
use proptest::prelude::*;
use proxytune_kernels::exact::{self, Columns};
use proxytune_kernels::{Activations, Isa, Kind, Matrix, Output, ggml, multiply};

/// Numbers between −3 and 3, of which some blocks are zero or tiny.
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut scale = 1.0;
    (0..n)
        .map(|i| {
            if i.is_multiple_of(32) {
                scale = [0.0, 1e-6, 0.1, 1.0, 3.0][(next().abs() * 4.99) as usize];
            }
            next() * scale
        })
        .collect()
}

fn traits_of(kind: sys::ggml_type) -> sys::ggml_type_traits_cpu {
    // SAFETY: ggml knows the type, and keeps its traits.
    unsafe {
        sys::ggml_cpu_init();
        *sys::ggml_get_type_traits_cpu(kind)
    }
}

/// A row as ggml stores it in some type.
fn stored(kind: sys::ggml_type, values: &[f32]) -> Vec<u8> {
    // SAFETY: ggml knows the type; the row is whole blocks and the room is its size.
    unsafe {
        let mut bytes = vec![0; sys::ggml_row_size(kind, values.len() as i64)];
        let from_float = traits_of(kind).from_float.expect("all types here can be made");
        from_float(values.as_ptr(), bytes.as_mut_ptr().cast::<c_void>(), values.len() as i64);
        bytes
    }
}

/// With the llama.cpp at hand: that it is recognised, and that ours is what computes.
#[test]
fn a_product_in_ggml_has_the_bits_of_ours_whatever_stands_beside_it() {
    // SAFETY: ggml's interface, used as its headers say; everything made here lives until the end of the test.
    unsafe {
        assert_eq!(ggml::install(None), Isa::best());
        let Some(isa) = Isa::best() else { return };
        let (kind, n, n_rows) = (Kind::Q4K, 512, 40);
        let number = kind.to_ggml() as sys::ggml_type;
        let data: Vec<u8> = values(n * n_rows, 3).chunks_exact(n).flat_map(|row| stored(number, row)).collect();
        let backend = sys::ggml_backend_cpu_init();
        let new_context = || {
            let mem_size = 8 * sys::ggml_tensor_overhead() + sys::ggml_graph_overhead();
            sys::ggml_init(sys::ggml_init_params { mem_size, mem_buffer: std::ptr::null_mut(), no_alloc: true })
        };
        let plain = sys::ggml_backend_cpu_buffer_type();
        let context = new_context();
        let weights = sys::ggml_new_tensor_2d(context, number, n as i64, n_rows as i64);
        let buffer = sys::ggml_backend_alloc_ctx_tensors_from_buft(context, plain);
        sys::ggml_backend_buffer_set_usage(buffer, sys::GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        sys::ggml_backend_tensor_set(weights, data.as_ptr().cast(), 0, data.len());
        let x = values(n * 11, 5);
        for (n_threads, n_columns) in [(1, 1), (2, 1), (1, 3), (2, 8), (2, 11)] {
            sys::ggml_backend_cpu_set_n_threads(backend, n_threads);
            let context = new_context();
            let columns = sys::ggml_new_tensor_2d(context, sys::GGML_TYPE_F32, n as i64, n_columns as i64);
            let product = sys::ggml_mul_mat(context, weights, columns);
            let graph = sys::ggml_new_graph(context);
            sys::ggml_build_forward_expand(graph, product);
            sys::ggml_backend_alloc_ctx_tensors_from_buft(context, plain);
            sys::ggml_backend_tensor_set(columns, x.as_ptr().cast(), 0, n * n_columns * 4);
            sys::ggml_backend_graph_compute(backend, graph);
            let results = std::slice::from_raw_parts((*product).data.cast::<f32>(), n_rows * n_columns);
            for (column, results) in results.chunks_exact(n_rows).enumerate() {
                let mut activations = Activations::default();
                activations.quantise(kind, &x[n * column..], n, n, 1);
                let mut expected = vec![0.0_f32; n_rows];
                let matrix = Matrix { kind, data: &data, stride: kind.row_bytes(n), n_rows };
                let to = Output { at: expected.as_mut_ptr(), stride: n_rows };
                multiply(Some(isa), matrix, 0..n_rows, &activations, to);
                assert_eq!(results, expected, "{n_threads} threads, column {column} of {n_columns}");
            }
        }
    }
}

proptest! {
    #[test]
    fn activations_are_quantised_as_by_ggml(seed in any::<u64>(), n_blocks in 1_usize..4) {
        let n = 256 * n_blocks;
        let x = values(n, seed);
        for (kind, stored_as, block, quants_at) in
            [(Kind::Q8_0, sys::GGML_TYPE_Q8_0, 32, 2), (Kind::Q4K, sys::GGML_TYPE_Q8_K, 256, 4)]
        {
            let expected = stored(stored_as, &x);
            let bytes = expected.len() / (n / block);
            let mut activations = Activations::default();
            activations.quantise(kind, &x, n, n, 1);
            let (quants, scales) = activations.parts();
            for (i, expected) in expected.chunks_exact(bytes).enumerate() {
                let ours: Vec<u8> = quants[i * block..][..block].iter().map(|&q| q as u8).collect();
                prop_assert_eq!(&ours, &expected[quants_at..][..block]);
                if quants_at == 4 {
                    prop_assert_eq!(scales[i].to_le_bytes(), [expected[0], expected[1], expected[2], expected[3]]);
                }
            }
        }
    }

    #[test]
    fn rows_are_decoded_as_by_ggml_and_multiplied_without_rounding_columns(
        seed in any::<u64>(),
        kind in prop::sample::select(&Kind::ALL[..]),
        n_blocks in 1_usize..4,
    ) {
        let (n, n_columns) = (256 * n_blocks, 3);
        let number = kind.to_ggml() as sys::ggml_type;
        let data = if kind == Kind::F32 {
            values(n, seed).iter().flat_map(|v| v.to_le_bytes()).collect()
        } else {
            stored(number, &values(n, seed))
        };
        let (mut ours, mut theirs) = (vec![f32::NAN; n], vec![f32::NAN; n]);
        exact::decode(kind, &data, &mut ours);
        // SAFETY: ggml knows the type, and both have a row of it. Floats of 32 bits need no decoding.
        unsafe {
            match (*sys::ggml_get_type_traits(number)).to_float {
                Some(to_float) => to_float(data.as_ptr().cast(), theirs.as_mut_ptr(), n as i64),
                None => exact::decode(kind, &data, &mut theirs),
            }
        }
        prop_assert_eq!(&ours, &theirs);
        let x = values(n * n_columns, seed.wrapping_add(1));
        let mut results = vec![f32::NAN; n_columns];
        let matrix = Matrix { kind, data: &data, stride: data.len(), n_rows: 1 };
        let to = Output { at: results.as_mut_ptr(), stride: 1 };
        // SAFETY: room for a row of every column.
        unsafe { exact::multiply(matrix, 0..1, Columns { values: &x, n, stride: n, n_columns }, to) };
        for (result, x) in results.iter().zip(x.chunks_exact(n)) {
            let products = || ours.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
            let (sum, size) = (products().sum::<f64>(), products().map(f64::abs).sum::<f64>());
            prop_assert!((f64::from(*result) - sum).abs() <= 1e-6 * size, "{result} for {sum}");
        }
    }

    #[test]
    fn products_are_those_of_ggml_up_to_rounding(
        seed in any::<u64>(),
        kind in prop::sample::select(&Kind::ALL[..]),
        n_blocks in 1_usize..5,
    ) {
        let (n, n_rows) = (256 * n_blocks, 17);
        let number = kind.to_ggml() as sys::ggml_type;
        let traits = traits_of(number);
        let x = values(n, seed);
        let weights = values(n * n_rows, seed.wrapping_add(1));
        let data: Vec<u8> = weights.chunks_exact(n).flat_map(|row| stored(number, row)).collect();
        let stride = kind.row_bytes(n);
        let mut activations = Activations::default();
        activations.quantise(kind, &x, n, n, 1);
        let mut ours = vec![0.0; n_rows];
        let matrix = Matrix { kind, data: &data, stride, n_rows };
        let to = Output { at: ours.as_mut_ptr(), stride: n_rows };
        // SAFETY: room for all rows of one column.
        unsafe { multiply(Isa::best(), matrix, 0..n_rows, &activations, to) };
        let columns = stored(traits.vec_dot_type, &x);
        for (row, ours) in ours.iter().enumerate() {
            let mut theirs = 0.0_f32;
            let weights_of_row = &data[row * stride..][..stride];
            // SAFETY: a row of weights and a column of the type that they are multiplied with, of one length.
            unsafe {
                let dot = traits.vec_dot.expect("all types here can be multiplied");
                dot(n as i32, &raw mut theirs, 0, weights_of_row.as_ptr().cast(), 0, columns.as_ptr().cast(), 0, 1);
            }
            let size: f32 = weights[row * n..][..n].iter().zip(&x).map(|(w, x)| (w * x).abs()).sum();
            // ggml rounds activations to 16 bits where weights have them.
            let most = if kind.is_float() { 5e-3 } else { 1e-5 } * size.max(1e-3);
            prop_assert!((ours - theirs).abs() <= most, "{}: {ours} and {theirs}, of {size}", kind.name());
        }
    }
}
