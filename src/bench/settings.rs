//! What is to be measured.

use std::time::Duration;

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
    /// Leave out repetitions that do not fit: this long each for prompts and for texts, and a part of it for the rest.
    pub time: Option<Duration>,
    /// Run everything once before it is measured. That also tells how long measuring takes.
    pub warms_up: bool,
    pub sampling: Sampling,
    /// How far the pairs steer, where it is not as planned.
    pub weights: WeightsRequest,
    pub draft: Draft,
}

/// What is being measured, and, once it is known, how long all of it takes from then on.
#[derive(Debug)]
pub struct Progress<'a> {
    pub what: &'a str,
    pub expected: Option<Duration>,
}
