//! Drafts of what comes next, so that the large model decodes several tokens at once.
//!
//! Sample and match: drafted tokens are decoded on every lane, then the chain draws from one row after the other, as it
//! would have without them, and drafts are accepted for as long as they are what it drew. A draft never reaches the chain,
//! so its draws and its random numbers are those of decoding token by token, wherever the rows are the same.
//!
//! In: the chain, the token that was chosen last, rows of the lane that drafts. Out: tokens to decode behind it. How far
//! to draft, and by what, is the policy's; a round without a draft is a round like any other. What was learnt of acceptance
//! and of costs, where those are measured, belongs to the models, and serves every text on them.

mod chances;
mod costs;
mod drafting;
mod lookup;
mod policy;
mod stats;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use chances::{Chances, Confidence};
pub use costs::{Assumed, Costs, Order};
pub(super) use drafting::Drafting;
pub use policy::{EXPECTED_COST, Policy, Round, Share};
pub use stats::{Stats, Tally};

use crate::parameter::OutOfRange;
use crate::steer::{Ensemble, Sampled};

/// Most tokens that a text brings to a step: the chosen one and its drafts.
pub const MAX_STEP: usize = 16;
/// The same where a lane is on a device: beyond it kernels for few columns give way to ones that cost a multiple.
const MAX_STEP_ON_DEVICES: usize = 8;

/// How tokens are drafted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Draft {
    pub length: Length,
    /// A draft that is less probable to the model that makes it ends the round; 0 for none.
    pub min_p: f32,
    /// Who drafts, nobody where empty. The text is looked at before a model drafts; of models the first counts.
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

    /// As many drafts as this in every round.
    #[must_use]
    pub fn fixed(n: usize, drafter: Drafter) -> Self {
        Self { length: Length::Fixed(n), min_p: 0.0, drafters: vec![drafter] }
    }

    /// Most tokens in a round, wherever it runs.
    #[must_use]
    pub fn n_step(&self) -> usize {
        match self.length {
            _ if self.drafters.is_empty() => 1,
            Length::Off => 1,
            Length::Auto | Length::Timed => MAX_STEP,
            Length::Fixed(n) => n + 1,
        }
    }

    /// The same for these models.
    #[must_use]
    pub fn n_step_of(&self, ensemble: &Ensemble) -> usize {
        if let Some(server) = ensemble.server() {
            // What the base writes on by itself saves the requests that drafts would.
            let is_asked = matches!(self.length, Length::Fixed(_)) && !server.draws();
            return if is_asked { self.n_step().min(ensemble.n_rows_max()) } else { 1 };
        }
        let n_max = match (ensemble.can_roll_back(), ensemble.use_devices()) {
            (false, _) => 1,
            (true, true) => MAX_STEP_ON_DEVICES,
            (true, false) => MAX_STEP,
        };
        self.n_step().min(n_max).min(ensemble.n_rows_max())
    }

    /// What cannot be drafted as it is asked for, in words.
    #[must_use]
    pub fn note(&self, ensemble: &Ensemble) -> Option<String> {
        let (asked, n_step) = (self.n_step(), self.n_step_of(ensemble));
        if let Some(server) = ensemble.server() {
            let is_typed = matches!(self.length, Length::Fixed(_)) && asked > 1 && server.draws();
            return is_typed
                .then(|| "nothing is drafted: the server draws one token at a time (--base-exact)".to_owned());
        }
        if asked > 1 && !ensemble.can_roll_back() {
            return Some("a model with a recurrent state cannot take tokens back, so nothing is drafted".to_owned());
        }
        let why = if n_step == ensemble.n_rows_max() {
            format!("the contexts have room for {n_step} tokens in a batch (-b, n_outputs_max)")
        } else {
            format!("more than {n_step} tokens at once cost a multiple on a device")
        };
        match self.length {
            Length::Fixed(n) if n_step < asked => {
                Some(format!("--draft {n} drafts {} tokens at most: {why}", n_step - 1))
            }
            Length::Auto | Length::Timed if n_step == 1 && asked > 1 => Some(format!("nothing is drafted: {why}")),
            _ => None,
        }
    }

    /// The lane that drafts for a text; `None` where none does.
    #[must_use]
    pub fn lane(&self, ensemble: &Ensemble, sampled: Sampled) -> Option<usize> {
        // A lane by itself would draft what it is going to choose.
        if sampled != Sampled::Steered || ensemble.lanes().len() < 2 {
            return None;
        }
        let base = Some(0).filter(|_| ensemble.server().is_none());
        self.drafters.iter().find_map(|drafter| match drafter {
            Drafter::Lookup => None,
            Drafter::Expert => ensemble.expert().or(base),
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

/// How many tokens are drafted in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// As many as pay by what steps are assumed to cost, none where nothing pays: the same on every run.
    Auto,
    /// As many as pay by what steps are measured to cost. Another run may draft otherwise, and where logits depend on how
    /// tokens are batched, write another text.
    Timed,
    Fixed(usize),
    Off,
}

impl Length {
    /// Whether it is decided round by round.
    pub(super) fn adapts(self) -> bool {
        matches!(self, Self::Auto | Self::Timed)
    }
}

impl FromStr for Length {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "timed" => Ok(Self::Timed),
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
    OutOfRange::new("draft", got, format!("auto, timed, off, or 0 to {} tokens", MAX_STEP - 1))
}

/// Who drafts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drafter {
    /// The text itself: what its form leaves no choice of, or what followed the last time that its end stood there. Costs nothing.
    Lookup,
    /// The first expert that is a model of its own, whose rows are needed anyway; the base where there is none.
    Expert,
    Base,
}

/// Who drafts, by their names between commas.
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
