//! What a product of a few columns costs beside that of one: ggml's own kernels on weights as they are in a file and on
//! repacked ones, and these. One matrix that no cache near a core holds; the best of some runs, interleaved.

use std::ffi::c_void;
use std::time::Instant;

use llama_cpp_sys_2 as sys;
use proxytune_kernels::{Activations, Isa, Kind, Matrix, Output, multiply};

const N: usize = 1536;
const BYTES: usize = 256 << 20;
const COLUMNS: [usize; 5] = [1, 2, 4, 8, 64];
const RUNS: usize = 5;

fn main() {
    let isas: Vec<Isa> = Isa::ALL.into_iter().filter(|isa| isa.is_here()).collect();
    for threads in [1, 2] {
        println!(
            "\n{threads} thread(s), {} MiB of weights, rows of {N}: GB/s of one column, then c(2), c(4), c(8), c(64)",
            BYTES >> 20
        );
        println!("| type | kernels | GB/s | c(2) | c(4) | c(8) | c(64) |\n| --- | --- | --: | --: | --: | --: | --: |");
        for kind in Kind::ALL {
            let n_rows = BYTES / kind.row_bytes(N) / 64 * 64;
            let row = stored(kind);
            let data: Vec<u8> = row.iter().copied().cycle().take(n_rows * row.len()).collect();
            let plain = Stock::new(kind, n_rows, &data, threads, false).expect("ggml multiplies all of these");
            let repacked = Stock::new(kind, n_rows, &data, threads, true);
            let mut best: Vec<(String, [f64; COLUMNS.len()])> = Vec::new();
            for _ in 0..RUNS {
                for (i, &n) in COLUMNS.iter().enumerate() {
                    let mut note = |name: &str, seconds: f64| {
                        let at = best.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                            best.push((name.to_owned(), [f64::INFINITY; COLUMNS.len()]));
                            best.len() - 1
                        });
                        best[at].1[i] = best[at].1[i].min(seconds);
                    };
                    note("ggml, as in the file", plain.time(n));
                    if let Some(repacked) = &repacked {
                        note("ggml, repacked", repacked.time(n));
                    }
                    for &isa in &isas {
                        note(isa.name(), ours(isa, kind, n_rows, &data, threads, n));
                    }
                }
            }
            for (name, seconds) in best {
                let speed = data.len() as f64 / seconds[0] / 1e9;
                let c: Vec<String> = seconds[1..].iter().map(|s| format!("{:.2}", s / seconds[0])).collect();
                println!("| {} | {name} | {speed:.1} | {} |", kind.name(), c.join(" | "));
            }
        }
    }
}

fn columns(n: usize) -> Vec<f32> {
    (0..N * n).map(|i| (i * 7919 % 1000) as f32 / 300.0 - 1.7).collect()
}

/// A row of weights.
fn stored(kind: Kind) -> Vec<u8> {
    let values: Vec<f32> = (0..N).map(|i| (i * 613 % 1000) as f32 / 500.0 - 1.0).collect();
    let mut bytes = vec![0_u8; kind.row_bytes(N)];
    // SAFETY: a row of whole blocks, and room for it.
    unsafe {
        sys::ggml_quantize_chunk(
            kind.to_ggml() as sys::ggml_type,
            values.as_ptr(),
            bytes.as_mut_ptr().cast::<c_void>(),
            0,
            1,
            N as i64,
            std::ptr::null(),
        );
    }
    bytes
}

fn ours(isa: Isa, kind: Kind, n_rows: usize, data: &[u8], threads: usize, n: usize) -> f64 {
    let x = columns(n);
    let mut results = vec![0.0_f32; n_rows * n];
    let at = results.as_mut_ptr() as usize;
    let matrix = Matrix { kind, data, stride: kind.row_bytes(N), n_rows };
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let rows = n_rows / 64 * thread / threads * 64..n_rows / 64 * (thread + 1) / threads * 64;
            let x = &x;
            scope.spawn(move || {
                let mut activations = Activations::default();
                activations.quantise(kind, x, N, N, n);
                // SAFETY: room for all rows of all columns, and every thread has its own rows.
                unsafe {
                    multiply(Some(isa), matrix, rows, &activations, Output { at: at as *mut f32, stride: n_rows });
                };
            });
        }
    });
    start.elapsed().as_secs_f64()
}

/// A matrix in ggml's hands.
struct Stock {
    backend: sys::ggml_backend_t,
    weights: *mut sys::ggml_tensor,
    n_rows: usize,
}

impl Stock {
    /// `None` where ggml does not repack the type. What it takes is never given back.
    fn new(kind: Kind, n_rows: usize, data: &[u8], threads: usize, repack: bool) -> Option<Self> {
        type GetExtra = unsafe extern "C" fn(sys::ggml_backend_dev_t) -> *mut sys::ggml_backend_buffer_type_t;
        // SAFETY: ggml's interface, used as its headers say: a context without data, a tensor in it, a buffer for it.
        unsafe {
            let backend = sys::ggml_backend_cpu_init();
            sys::ggml_backend_cpu_set_n_threads(backend, threads as i32);
            let registry = sys::ggml_backend_cpu_reg();
            let device = sys::ggml_backend_reg_dev_get(registry, 0);
            let get = sys::ggml_backend_reg_get_proc_address(registry, c"ggml_backend_dev_get_extra_bufts".as_ptr());
            let get = std::mem::transmute::<*mut c_void, Option<GetExtra>>(get)?;
            let buffer_type = if repack { *get(device) } else { sys::ggml_backend_cpu_buffer_type() };
            if buffer_type.is_null() {
                return None;
            }
            let context = new_context();
            let weights = sys::ggml_new_tensor_2d(context, kind.to_ggml() as sys::ggml_type, N as i64, n_rows as i64);
            let x = sys::ggml_new_tensor_2d(context, sys::GGML_TYPE_F32, N as i64, 1);
            let product = sys::ggml_mul_mat(context, weights, x);
            sys::ggml_backend_alloc_ctx_tensors_from_buft(context, buffer_type);
            // Of the other tensors only their shapes are asked for.
            (*x).buffer = std::ptr::null_mut();
            if repack && !sys::ggml_backend_dev_supports_op(device, product) {
                return None;
            }
            sys::ggml_backend_tensor_set(weights, data.as_ptr().cast(), 0, data.len());
            Some(Self { backend, weights, n_rows })
        }
    }

    fn time(&self, n: usize) -> f64 {
        let x = columns(n);
        // SAFETY: as above; everything made here is freed here.
        unsafe {
            let context = new_context();
            let columns = sys::ggml_new_tensor_2d(context, sys::GGML_TYPE_F32, N as i64, n as i64);
            let product = sys::ggml_mul_mat(context, self.weights, columns);
            let graph = sys::ggml_new_graph(context);
            sys::ggml_build_forward_expand(graph, product);
            let buffer = sys::ggml_backend_alloc_ctx_tensors_from_buft(context, sys::ggml_backend_cpu_buffer_type());
            sys::ggml_backend_tensor_set(columns, x.as_ptr().cast(), 0, size_of_val(&x[..]));
            assert_eq!((*product).ne[0], self.n_rows as i64);
            let start = Instant::now();
            sys::ggml_backend_graph_compute(self.backend, graph);
            let seconds = start.elapsed().as_secs_f64();
            sys::ggml_backend_buffer_free(buffer);
            sys::ggml_free(context);
            seconds
        }
    }
}

/// For some tensors and a graph, without their data.
unsafe fn new_context() -> *mut sys::ggml_context {
    // SAFETY: ggml takes the memory itself.
    unsafe {
        let mem_size = 16 * sys::ggml_tensor_overhead() + sys::ggml_graph_overhead();
        sys::ggml_init(sys::ggml_init_params { mem_size, mem_buffer: std::ptr::null_mut(), no_alloc: true })
    }
}
