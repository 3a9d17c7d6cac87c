//! Guesses at what comes next, so that the large model decodes several tokens at once.
//!
//! Sample and match: guessed tokens are decoded on every lane, then the chain draws from one row after the other, as it
//! would have without them, and the guesses are kept for as long as they are what it drew. A guess never reaches the
//! chain, so its draws and its random numbers are those of decoding token by token, wherever the rows are the same.
//!
//! In: the steered model, the chain, the token that was chosen last. Out: a step of one row or more, decoded. How
//! far to guess, and by what, is the policy's; one token without a guess is a step like any other.

mod lookup;
mod policy;
mod stats;
mod step;

use std::str::FromStr;

pub use stats::{Stats, Tally};
pub(super) use step::Drafting;

use crate::parameter::OutOfRange;
use crate::steer::Steered;

/// Most tokens in a step: the chosen one and its guesses.
pub const MAX_STEP: usize = 16;
/// The same where a lane is on a device: beyond it kernels for few columns give way to ones that cost a multiple.
const MAX_STEP_ON_DEVICES: usize = 8;

/// How tokens are guessed.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub length: Length,
    /// A guess that is less probable to the model that makes it ends the draft; 0 for none.
    pub min_p: f32,
    /// Who guesses, nobody where empty. The text is looked at before a model is asked; of models the first counts.
    pub drafters: Vec<Drafter>,
}

impl Default for Draft {
    fn default() -> Self {
        Self { length: Length::Auto, min_p: 0.0, drafters: vec![Drafter::Lookup, Drafter::Expert] }
    }
}

impl Draft {
    /// Token by token.
    #[must_use]
    pub fn off() -> Self {
        Self { length: Length::Off, ..Self::default() }
    }

    /// As many guesses as this in every step.
    #[must_use]
    pub fn fixed(n: usize, drafter: Drafter) -> Self {
        Self { length: Length::Fixed(n), min_p: 0.0, drafters: vec![drafter] }
    }

    /// Most tokens in a step, wherever it runs.
    #[must_use]
    pub fn n_step(&self) -> usize {
        match self.length {
            _ if self.drafters.is_empty() => 1,
            Length::Off => 1,
            Length::Auto => MAX_STEP,
            Length::Fixed(n) => n + 1,
        }
    }

    /// The same for these models.
    #[must_use]
    pub fn n_step_of(&self, steered: &Steered) -> usize {
        let n_max = match (steered.can_roll_back(), steered.use_devices()) {
            (false, _) => 1,
            (true, true) => MAX_STEP_ON_DEVICES,
            (true, false) => MAX_STEP,
        };
        self.n_step().min(n_max).min(steered.n_rows_max())
    }

    /// The lane of a steered model that guesses; `None` where none does.
    #[must_use]
    pub fn lane(&self, steered: &Steered) -> Option<usize> {
        // The base guesses for others alone.
        let base = Some(0).filter(|_| steered.iter().count() > 1);
        self.drafters.iter().find_map(|drafter| match drafter {
            Drafter::Lookup => None,
            Drafter::Expert => steered.expert().or(base),
            Drafter::Base => base,
        })
    }

    /// Refuses what could not run.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        if !(0.0..=1.0).contains(&self.min_p) {
            return Err(OutOfRange::new("draft-min-p", self.min_p, "a number from 0 to 1"));
        }
        match self.length {
            Length::Fixed(n) if n >= MAX_STEP => Err(length_error(n)),
            _ => Ok(()),
        }
    }
}

/// How many tokens are guessed in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// As many as pay, by what was measured; none where nothing pays.
    Auto,
    Fixed(usize),
    Off,
}

impl FromStr for Length {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => match text.parse().ok().filter(|&n| n < MAX_STEP) {
                Some(0) => Ok(Self::Off),
                Some(n) => Ok(Self::Fixed(n)),
                None => Err(length_error(text)),
            },
        }
    }
}

fn length_error(got: impl std::fmt::Display) -> OutOfRange {
    OutOfRange::new("draft", got, format!("auto, off, or 0 to {} tokens", MAX_STEP - 1))
}

/// Who guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drafter {
    /// The text itself: what followed the last time that its end stood there. Costs nothing.
    Lookup,
    /// The first expert that is a model of its own, whose rows are needed anyway; the base where there is none.
    Expert,
    Base,
}

/// Who guesses, by their names between commas.
pub fn drafters(text: &str) -> Result<Vec<Drafter>, OutOfRange> {
    let expected = "names of lookup, expert and base between commas, or none";
    let known = |name: &str| match name.trim() {
        "lookup" => Ok(Drafter::Lookup),
        "expert" => Ok(Drafter::Expert),
        "base" => Ok(Drafter::Base),
        _ => Err(OutOfRange::new("drafter", format!("{name:?}"), expected)),
    };
    if text == "none" { Ok(Vec::new()) } else { text.split(',').map(known).collect() }
}
