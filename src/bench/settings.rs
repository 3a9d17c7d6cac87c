//! What is to be measured.

use crate::generate::Draft;
use crate::generate::draft::MAX_STEP;
use crate::sampling::Sampling;
use crate::steer::WeightsRequest;

/// Rows that every context needs to be able to put out: as many as the largest step has, or is measured with.
pub const N_ROWS: usize = MAX_STEP;

/// What is measured, and how often. A test of no tokens is left out.
#[derive(Debug, Clone)]
pub struct Settings {
    pub n_prompt: usize,
    pub n_gen: usize,
    pub n_repetitions: usize,
    /// Run everything once before it is measured.
    pub warms_up: bool,
    pub sampling: Sampling,
    /// How far the pairs steer, where it is not as planned.
    pub weights: WeightsRequest,
    pub draft: Draft,
}

/// What is being measured, and how many runs are done of how many.
#[derive(Debug)]
pub struct Progress<'a> {
    pub what: &'a str,
    pub n_done: usize,
    pub n_all: usize,
}
