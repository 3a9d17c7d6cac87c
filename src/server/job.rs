//! What a route asks of the engine.

use std::time::Duration;

use crate::generate::Request;

/// One text to be generated.
#[derive(Debug, Clone)]
pub struct Job {
    pub ensemble: usize,
    pub request: Request,
    /// It ends with the first line that ends so long after its first token.
    pub time_limit: Option<Duration>,
}

impl Job {
    /// The same asked for `n` times: with a seed, every further text has the next one.
    pub fn repeated(self, n: usize) -> Vec<Self> {
        let seeded = |i: usize| {
            let mut job = self.clone();
            // The last number is llama.cpp's for a random one.
            let next = |seed: u32| seed.checked_add(i as u32).filter(|seed| *seed < u32::MAX);
            job.request.sampling.seed = job.request.sampling.seed.and_then(next);
            job
        };
        (0..n).map(seeded).collect()
    }
}
