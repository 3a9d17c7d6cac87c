//! Those who answer.

use crate::steer::{Sampled, WeightsRequest};

/// Who answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Contender {
    /// By which results know it: α included, so that it says all that a fingerprint of the run does not.
    pub name: String,
    pub kind: Kind,
    pub sampled: Sampled,
    /// How far the pairs steer, where it is not as planned.
    pub weights: WeightsRequest,
}

/// What a contender is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Base,
    Expert,
    Antiexpert,
    Steered,
    /// A model that was tuned itself, in an engine of its own.
    Tuned,
}

impl Kind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Expert => "expert",
            Self::Antiexpert => "antiexpert",
            Self::Steered => "steered",
            Self::Tuned => "tuned",
        }
    }
}
