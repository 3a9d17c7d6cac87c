//! `proxytune recipe`

use std::io::Write;

use anyhow::{Result, anyhow};

use super::Done;
use super::args::RecipeCommand;
use crate::recipe::{Recipe, file};

pub fn run(command: &RecipeCommand) -> Result<Done> {
    let mut out = std::io::stdout().lock();
    match command {
        RecipeCommand::List => {
            for (name, path) in file::bundled() {
                let description = match Recipe::open(&path.to_string_lossy()) {
                    Ok(recipe) => recipe.description.unwrap_or_default(),
                    Err(error) => format!("cannot be used: {error}"),
                };
                writeln!(out, "{name}\t{}", description.replace('\n', " "))?;
            }
        }
        RecipeCommand::Show { name } => {
            let mut recipe = Recipe::open(name)?;
            // What is shown can be kept anywhere.
            for path in recipe.files_mut() {
                *path = std::path::absolute(&*path)?;
            }
            let text = toml::to_string_pretty(&recipe).map_err(|error| anyhow!("{name} cannot be shown: {error}"))?;
            write!(out, "{text}")?;
        }
        RecipeCommand::Validate { name } => {
            let recipe = Recipe::open(name)?;
            let missing: Vec<_> = recipe.files().filter(|path| !path.is_file()).collect();
            for path in &missing {
                writeln!(out, "missing\t{}", path.display())?;
            }
            if !missing.is_empty() {
                return Ok(Done::Failed);
            }
            writeln!(out, "valid\tits {} files are there", recipe.files().count())?;
        }
    }
    Ok(Done::Fine)
}
