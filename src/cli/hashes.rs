//! Whether files are the ones that a recipe names by their SHA-256.
//!
//! `check` reads them for it, once; who runs them does not wait for that. A download is verified as it comes.

use anyhow::Result;

use super::{interrupt, progress, there};
use crate::hub::{self, Progress};
use crate::inspect::{Finding, Level};
use crate::recipe::{ModelName, Recipe};

/// A finding for each file that is there and has a SHA-256 in the recipe; none where ctrl-C broke that off.
pub fn findings(recipe: &Recipe) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for (role, spec) in there::specs(recipe) {
        let (ModelName::File(path), Some(expected)) = (&spec.model, &spec.sha256) else { continue };
        if !path.is_file() {
            continue;
        }
        let mut bar = progress::Download::default();
        let differs = hub::differs(path, expected, &mut |progress: &Progress<'_>| {
            bar.report(progress);
            !interrupt::stopped()
        });
        let finding = |level, text, advice| Finding { level, topic: "sha256", role: Some(role), text, advice };
        found.push(match differs {
            Ok(None) => finding(Level::Ok, "the file that the recipe names".to_owned(), None),
            Ok(Some(got)) => {
                let text = format!("another file than the recipe names: expected SHA-256 {expected}, got {got}");
                let advice = "download it again; if you trust this one, write its SHA-256 into the recipe";
                finding(Level::Refused, text, Some(advice.to_owned()))
            }
            Err(hub::Error::Cancelled) => break,
            Err(error) => return Err(error.into()),
        });
    }
    Ok(found)
}
