//! Whether what a recipe names on disk is there at all.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::Result;

use crate::gguf;
use crate::recipe::{ModelName, ModelSpec, Recipe};
use crate::steer::{self, Role};

/// Refuses a file that is not there before anything is waited for or downloaded.
pub fn check(recipe: &Recipe) -> Result<()> {
    let missing = |path: &Path| {
        let source = std::fs::metadata(path).err().filter(|error| error.kind() == ErrorKind::NotFound)?;
        Some(gguf::Error::Io { path: path.to_path_buf(), source })
    };
    for (role, spec) in specs(recipe) {
        if let ModelName::File(path) = &spec.model
            && let Some(source) = missing(path)
        {
            return Err(steer::Error::File { role, source }.into());
        }
        if let Some(source) = spec.lora.iter().find_map(|lora| missing(&lora.path)) {
            return Err(steer::Error::Adapter { role, source }.into());
        }
    }
    Ok(())
}

/// Every model that a recipe names, with its role.
pub fn specs(recipe: &Recipe) -> impl Iterator<Item = (Role, &ModelSpec)> {
    let sides = recipe.pairs.iter().enumerate().flat_map(|(pair, sides)| {
        [(Role::Expert(pair), sides.expert.as_ref()), (Role::Antiexpert(pair), sides.antiexpert.as_ref())]
    });
    let sides = sides.filter_map(|(role, spec)| Some((role, spec?)));
    std::iter::once((Role::Base, &recipe.base)).chain(sides)
}
