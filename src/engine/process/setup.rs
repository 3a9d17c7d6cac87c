//! What a process is started with.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine::Settings;
use crate::steer::Plan;

/// A program that calls [`serve`](super::serve), as `proxytune` does when it is told so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub program: PathBuf,
    pub args: Vec<OsString>,
}

impl Child {
    /// A `proxytune`.
    #[must_use]
    pub fn proxytune(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: vec![super::COMMAND.into()] }
    }
}

/// Everything that a process needs to know to load its ensembles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// An ensemble for each. They share the models that they have in common.
    pub plans: Vec<Planned>,
    pub settings: Settings,
    /// Servers whose devices the plans may name.
    pub rpc: Vec<String>,
    /// Pass on what llama.cpp says.
    pub verbose: bool,
}

/// A plan, and when its contexts are opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub plan: Plan,
    /// For its first request, which fails where they cannot be; its models are loaded with the others'. Not for the first
    /// plan.
    pub lazy: bool,
}

impl From<Plan> for Planned {
    fn from(plan: Plan) -> Self {
        Self { plan, lazy: false }
    }
}
