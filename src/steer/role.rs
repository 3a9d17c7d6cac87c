//! Who is who.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The part a model plays. Pairs are counted from 0; with one pair the number is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Base,
    Expert(usize),
    Antiexpert(usize),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("base"),
            Self::Expert(0) => f.write_str("expert"),
            Self::Antiexpert(0) => f.write_str("antiexpert"),
            Self::Expert(pair) => write!(f, "expert {}", pair + 1),
            Self::Antiexpert(pair) => write!(f, "antiexpert {}", pair + 1),
        }
    }
}
