//! What can be typed of the weights of the sum.

#![allow(clippy::doc_markdown, reason = "doc comments are the help texts")]
#![allow(clippy::struct_field_names, reason = "fields are named as the flags are")]

use clap::Args as ClapArgs;

use crate::parameter::OutOfRange;
use crate::recipe::Schedule;

/// How far to steer.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(next_help_heading = "Models")]
pub struct Alpha {
    /// How far to steer: 0 is the base alone; one value for all pairs, or one for each [default: 1, or the recipe's]
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', value_name = "N,…", value_parser = number)]
    pub alpha: Vec<f32>,
    /// Change α along the answer: 1@0,0.5@64 (a value from a token on), 1@0..0.5@64 (a straight line); once for all
    /// pairs, or once for each
    #[arg(long, allow_hyphen_values = true, value_name = "N@POS,…", conflicts_with = "alpha")]
    pub alpha_schedule: Vec<String>,
    #[command(flatten)]
    pub parts: Parts,
}

/// The weights of single parts of the sum, where they are not α, or for the base 1.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(next_help_heading = "Models")]
pub struct Parts {
    /// The expert's weight where it is not α; one value for all pairs, or one for each
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', value_name = "N,…")]
    pub alpha_expert: Vec<f32>,
    /// The antiexpert's weight where it is not α; one value for all pairs, or one for each
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', value_name = "N,…")]
    pub alpha_antiexpert: Vec<f32>,
    /// The base's weight [default: 1, or the recipe's]
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub base_weight: Option<f32>,
}

fn number(text: &str) -> Result<f32, String> {
    let expected = "expected a number; one that changes along the answer is given with --alpha-schedule";
    text.trim().parse().map_err(|_| expected.to_owned())
}

impl From<Parts> for Alpha {
    fn from(parts: Parts) -> Self {
        Self { parts, ..Self::default() }
    }
}

impl Alpha {
    /// What was typed of α; empty for the recipe's.
    pub fn schedules(&self) -> Result<Vec<Schedule>, OutOfRange> {
        let schedules = if self.alpha_schedule.is_empty() {
            constants(&self.alpha)
        } else {
            self.alpha_schedule.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?
        };
        schedules.iter().try_for_each(Schedule::validate)?;
        Ok(schedules)
    }
}

/// Each number, all along the answer.
pub fn constants(numbers: &[f32]) -> Vec<Schedule> {
    numbers.iter().map(|&number| Schedule::constant(number)).collect()
}
