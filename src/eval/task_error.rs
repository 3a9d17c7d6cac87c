//! What can be wrong with a task, its data or its results.

use std::io;
use std::path::PathBuf;

use super::data::Place;
use super::spec::Format;
use crate::text_file;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    #[error("there is no usable task: {0}")]
    Text(text_file::Error),

    #[error("no task is called {name:?}; looked in {}", looked_in.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", "))]
    Unknown { name: String, known: Vec<String>, looked_in: Vec<PathBuf> },

    #[error("the task {} is not valid: {source}", path.display())]
    Toml { path: PathBuf, source: Box<toml::de::Error> },

    #[error("the task {} is not valid: {reason}", path.display())]
    Invalid { path: PathBuf, reason: String },

    #[error("{data}, {place}: {reason}")]
    Data { data: String, format: Format, place: Place, reason: String },

    #[error("{data} holds no item")]
    NoItem { data: String, format: Format },

    #[error("cannot write results to {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },

    #[error("{} holds no results of `proxytune eval`", path.display())]
    NotResults { path: PathBuf },

    #[error("{}, line {line}: expected a result: {reason}", path.display())]
    NotARecord { path: PathBuf, line: usize, reason: String },

    #[error("{} holds the results of another run: {}", path.display(), differences.join("; "))]
    OtherRun { path: PathBuf, differences: Vec<String> },
}

impl TaskError {
    /// Whether what was asked for is at fault, and not what a file holds.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::OtherRun { .. } | Self::NotResults { .. })
    }

    /// The next step, where there is one to tell.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Text(error) => Some(error.hint().to_owned()),
            Self::Unknown { known, .. } if known.is_empty() => {
                Some("name a task's file, or set PROXYTUNE_MODELS to the folder that holds tasks/".to_owned())
            }
            Self::Unknown { known, .. } => {
                Some(format!("bundled tasks: {}; the name of a task's file ends in .toml", known.join(", ")))
            }
            Self::Data { format, .. } | Self::NoItem { format, .. } => Some(format.hint().to_owned()),
            Self::NotResults { .. } => Some("name a new file with --results".to_owned()),
            Self::NotARecord { .. } => Some("take the line out: its item is then asked again".to_owned()),
            Self::OtherRun { .. } => {
                Some("name another file with --results, or run with what the file was written with".to_owned())
            }
            Self::Io { .. } => Some("check the path, the permissions, and the space on the disk".to_owned()),
            Self::Toml { .. } | Self::Invalid { .. } => None,
        }
    }
}
