//! What can be wrong with a recipe.

use std::path::PathBuf;

use crate::parameter::OutOfRange;
use crate::text_file;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("there is no usable recipe: {0}")]
    Text(#[from] text_file::Error),

    #[error("the recipe {} is not valid: {source}", path.display())]
    Toml { path: PathBuf, source: Box<toml::de::Error> },

    #[error("the recipe {} is not valid: {source}", path.display())]
    Invalid { path: PathBuf, source: OutOfRange },

    #[error("no recipe is called {name:?}; looked in {}", looked_in.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", "))]
    Unknown { name: String, known: Vec<String>, looked_in: Vec<PathBuf> },
}

impl Error {
    /// Whether what was asked for is at fault, and not what a file holds.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// The next step, where there is one to tell.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Text(error) if error.is_missing() => {
                Some("name a recipe file, or a bundled recipe such as demo".to_owned())
            }
            Self::Text(error) => Some(error.hint().to_owned()),
            Self::Unknown { name, known, .. } => {
                let near = known.iter().min_by_key(|known| strsim::osa_distance(name, known));
                let near = near.filter(|known| strsim::osa_distance(name, known) <= 2);
                let near = near.map(|known| format!("did you mean {known}? ")).unwrap_or_default();
                Some(format!("{near}`proxytune recipe list` names them; a recipe file ends in .toml"))
            }
            Self::Toml { source, .. } if source.message().contains("expected a sequence") => {
                Some("a pair is headed [[pair]], with two brackets on each side".to_owned())
            }
            Self::Toml { source, .. } => nearest(source.message()).map(|known| format!("did you mean `{known}`?")),
            _ => None,
        }
    }
}

/// The known name that is nearest to the unknown one in serde's ``unknown field `x`, expected one of `a`, `b` ``.
fn nearest(message: &str) -> Option<&str> {
    const LIKE: f64 = 0.7;
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let likeness = |known: &&str| strsim::jaro_winkler(unknown, known);
    quoted.filter(|known| likeness(known) > LIKE).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_known_name_is_meant() {
        for (message, expected) in [
            ("unknown field `exprt`, expected one of `alpha`, `expert`, `antiexpert`", Some("expert")),
            ("unknown field `anti_expert`, expected one of `alpha`, `expert`, `antiexpert`", Some("antiexpert")),
            ("unknown field `tmp`, expected `temp` or `top_k`", Some("temp")),
            ("unknown field `zzz`, expected one of `alpha`, `expert`", None),
            ("missing field `base`", None),
        ] {
            assert_eq!(nearest(message), expected, "{message}");
        }
    }
}
