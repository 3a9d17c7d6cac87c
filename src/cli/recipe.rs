//! `proxytune recipe`

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use anyhow::{Result, anyhow};

use super::Done;
use super::args::RecipeCommand;
use super::report::Hinted;
use super::terminal::shown;
use crate::hub::Wanted;
use crate::plain::plain;
use crate::recipe::{ModelName, Recipe, file};

pub fn run(command: &RecipeCommand) -> Result<Done> {
    let mut out = std::io::stdout().lock();
    match command {
        RecipeCommand::List => {
            let named = std::env::var_os("PROXYTUNE_MODELS").filter(|folder| !folder.is_empty());
            if let Some(folder) = named.filter(|folder| !Path::new(folder).is_dir()) {
                return Err(anyhow!("PROXYTUNE_MODELS is {}, which is not a folder", folder.display()))
                    .hint("set it to the folder that holds demo/, or leave it unset");
            }
            let bundled = file::bundled();
            if bundled.is_empty() {
                let folders: Vec<_> = file::folders().iter().map(|folder| folder.display().to_string()).collect();
                return Err(anyhow!("there is no recipe in {}", folders.join(" or ")))
                    .hint("set PROXYTUNE_MODELS to the folder that holds demo/, or name a recipe's file with -R");
            }
            for (name, path) in bundled {
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
            let missing: BTreeSet<_> = recipe.files().filter(|path| !path.is_file()).collect();
            for path in &missing {
                writeln!(out, "missing\t{}", shown(&path.display().to_string()))?;
            }
            if !missing.is_empty() {
                return Ok(Done::Failed);
            }
            let on_hub: BTreeSet<_> = recipe
                .models()
                .filter_map(|spec| match &spec.model {
                    ModelName::Hub { repo, file } => Some((repo, file)),
                    ModelName::Base | ModelName::File(_) | ModelName::Remote(_) => None,
                })
                .collect();
            let on_hub = on_hub.len();
            // A file may play several roles.
            let n_files = recipe.files().collect::<BTreeSet<_>>().len();
            let count = |n: usize, what: &str, one: &str, many: &str| {
                if n == 1 { format!("1 {what} {one}") } else { format!("{n} {what}s {many}") }
            };
            let files = || count(n_files, "file", "is there", "are there");
            let models = || {
                let models = count(on_hub, "model", "is the hub's", "are the hub's");
                format!("{models}, and `proxytune pull {name}` downloads what is not here")
            };
            let there = match (n_files, on_hub) {
                (_, 0) => files(),
                (0, _) => models(),
                _ => format!("{}, {}", files(), models()),
            };
            writeln!(out, "valid\t{}", shown(&there))?;
        }
    }
    Ok(Done::Fine)
}
