//! `proxytune recipe`

use std::io::Write;

use anyhow::{Result, anyhow};

use super::Done;
use super::args::RecipeCommand;
use super::terminal::shown;
use crate::hub::Wanted;
use crate::plain::plain;
use crate::recipe::{ModelName, Recipe, file};

pub fn run(command: &RecipeCommand) -> Result<Done> {
    let mut out = std::io::stdout().lock();
    match command {
        RecipeCommand::List => {
            for (name, path) in file::bundled() {
                let description = match Recipe::open(&path.to_string_lossy()) {
                    Ok(recipe) => recipe.description.unwrap_or_default(),
                    Err(error) => format!("cannot be used: {error}"),
                };
                writeln!(out, "{}\t{}", plain(&name), plain(&description.replace('\n', " ")))?;
            }
        }
        RecipeCommand::Show { name } => {
            let mut recipe = Recipe::open(name)?;
            // What is shown can be kept anywhere.
            for path in recipe.files_mut() {
                *path = std::path::absolute(&*path)?;
            }
            let text = toml::to_string_pretty(&recipe).map_err(|error| anyhow!("{name} cannot be shown: {error}"))?;
            write!(out, "{}", shown(&text))?;
        }
        RecipeCommand::Validate { name } => {
            let recipe = Recipe::open(name)?;
            for spec in recipe.models() {
                if let ModelName::Hub { repo, .. } = &spec.model {
                    repo.parse::<Wanted>()?;
                }
            }
            let missing: Vec<_> = recipe.files().filter(|path| !path.is_file()).collect();
            for path in &missing {
                writeln!(out, "missing\t{}", shown(&path.display().to_string()))?;
            }
            if !missing.is_empty() {
                return Ok(Done::Failed);
            }
            let on_hub = recipe.models().filter(|spec| matches!(spec.model, ModelName::Hub { .. })).count();
            let there = match (recipe.files().count(), on_hub) {
                (n, 0) => format!("its {n} files are there"),
                (0, n) => format!("{n} models are the hub's: `proxytune pull {name}` downloads them"),
                (n, m) => {
                    format!("{n} files are there, {m} models are the hub's: `proxytune pull {name}` downloads them")
                }
            };
            writeln!(out, "valid\t{}", shown(&there))?;
        }
    }
    Ok(Done::Fine)
}
