//! What was found, as a recipe.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::cli::new_file::NewFile;
use crate::eval::calibrate::Calibration;
use crate::recipe::{Recipe, Schedule};

/// A recipe with the weights that were found, and with the cut where one is recommended.
pub fn tuned(recipe: &Recipe, found: &Calibration) -> Recipe {
    let mut tuned = recipe.clone();
    let Some(weights) = &found.chosen().weights else { return tuned };
    let base = weights.base_at(0);
    tuned.base_weight = (base != 1.0).then(|| Schedule::constant(base));
    for (i, pair) in tuned.pairs.iter_mut().enumerate() {
        let (a, b) = weights.at(i, 0);
        pair.set_alpha(Schedule::constant(a));
        pair.alpha_antiexpert = (b != a).then(|| Schedule::constant(b));
    }
    if found.plausibility > 0.0 {
        tuned.sampling.plausibility = found.plausibility;
    }
    tuned
}

/// The lines that differ from a recipe without weights of its own.
pub fn lines(tuned: &Recipe, found: &Calibration) -> String {
    let mut blocks: Vec<String> = tuned.base_weight.iter().map(|weight| format!("base_weight = {weight}")).collect();
    for pair in &tuned.pairs {
        let name = pair.name.as_ref().map(|name| format!("  # {name}")).unwrap_or_default();
        let own = pair.alpha_antiexpert.as_ref().map(|weight| format!("\nalpha_antiexpert = {weight}"));
        blocks.push(format!("[[pair]]{name}\nalpha = {}{}", pair.alpha, own.unwrap_or_default()));
    }
    if found.plausibility > 0.0 {
        blocks.push(format!("[sampling]\nplausibility = {}", found.plausibility));
    }
    blocks.join("\n\n")
}

/// Writes a recipe, whole or not at all. Files beneath its folder are named from there, others from the root.
pub fn write(path: &Path, recipe: &Recipe, overwrite: bool) -> Result<()> {
    let new = NewFile::create(path, overwrite)?;
    let home = new.folder().canonicalize().map_err(|error| new.failed(&error))?;
    let mut recipe = recipe.clone();
    for file in recipe.files_mut() {
        let absolute = file.canonicalize().or_else(|_| std::path::absolute(&*file))?;
        *file = absolute.strip_prefix(&home).map(Path::to_path_buf).unwrap_or(absolute);
    }
    let text = toml::to_string_pretty(&recipe)?;
    new.file().write_all(text.as_bytes()).map_err(|error| new.failed(&error))?;
    new.keep()
}
