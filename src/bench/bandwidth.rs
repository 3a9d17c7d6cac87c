//! How fast main memory can be read: what decoding a token cannot go beyond.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use serde::Serialize;

/// More than caches hold, all threads together.
const N_BYTES: usize = 512 << 20;
const N_PASSES: usize = 5;

/// Bytes a second that threads read from main memory, each from a stretch of its own from end to end: the best of some
/// passes over more than the caches hold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bandwidth {
    pub bytes_per_s: f64,
    pub n_threads: usize,
    pub n_bytes: usize,
    pub n_passes: usize,
}

impl Bandwidth {
    #[must_use]
    pub fn measure(n_threads: usize) -> Self {
        Self::over(N_BYTES, n_threads.max(1))
    }

    fn over(n_bytes: usize, n_threads: usize) -> Self {
        let n_words = n_bytes / size_of::<u64>() / n_threads;
        let line = Barrier::new(n_threads + 1);
        let read = || {
            // Written by the thread that reads it, so that it lies close to it.
            let words = vec![1_u64; n_words];
            for _ in 0..N_PASSES {
                line.wait();
                black_box(black_box(&words).iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)));
                line.wait();
            }
        };
        let best = std::thread::scope(|scope| {
            (0..n_threads).for_each(|_| {
                scope.spawn(read);
            });
            let mut best = f64::INFINITY;
            for _ in 0..N_PASSES {
                line.wait();
                let began = Instant::now();
                line.wait();
                best = best.min(began.elapsed().as_secs_f64());
            }
            best
        });
        let n_bytes = n_words * size_of::<u64>() * n_threads;
        Self { bytes_per_s: n_bytes as f64 / best, n_threads, n_bytes, n_passes: N_PASSES }
    }
}

#[cfg(test)]
mod tests {
    use super::Bandwidth;

    #[test]
    fn all_threads_read_their_part() {
        let measured = Bandwidth::over(1 << 20, 3);
        assert!(measured.bytes_per_s.is_finite() && measured.bytes_per_s > 0.0);
        assert_eq!((measured.n_threads, measured.n_bytes), (3, (1 << 20) / 8 / 3 * 8 * 3));
    }
}
