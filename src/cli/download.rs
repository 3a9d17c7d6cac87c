//! Models of a hub become files on disk; `proxytune pull`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::args::Pull;
use super::models::HubArgs;
use super::terminal::{say, shown};
use super::{Done, interrupt, progress, there};
use crate::hub::{self, Hub, Progress, Wanted};
use crate::recipe::{ModelName, Recipe};

/// `proxytune pull`: what it downloaded, or found downloaded, a line each.
pub fn run(args: &Pull) -> Result<Done> {
    let mut out = std::io::stdout().lock();
    let as_path = Path::new(&args.what);
    let is_recipe = as_path.extension().is_some_and(|end| end == "toml") || as_path.exists();
    let is_repo = args.what.contains('/') && !is_recipe;
    if is_repo {
        let path = fetch(&hub(&args.hub)?, &args.what.parse()?)?;
        writeln!(out, "{}", shown(&path.display().to_string()))?;
        return Ok(Done::Fine);
    }
    let mut recipe = Recipe::open(&args.what)?;
    models(&mut recipe, &args.hub)?;
    let mut told = Vec::new();
    for path in recipe.files() {
        if !told.contains(&path) {
            writeln!(out, "{}", shown(&path.display().to_string()))?;
            told.push(path);
        }
    }
    Ok(Done::Fine)
}

/// Downloads what a recipe names on a hub, and names the files instead. One that is named twice is fetched once.
pub fn models(recipe: &mut Recipe, args: &HubArgs) -> Result<()> {
    if recipe.models().any(|spec| matches!(spec.model, ModelName::Hub { .. })) {
        there::check(recipe)?;
    }
    let mut known: Option<Hub> = None;
    let mut fetched: Vec<(Wanted, PathBuf)> = Vec::new();
    for spec in recipe.models_mut() {
        let ModelName::Hub { repo, file } = &spec.model else { continue };
        let wanted = Wanted { file: file.clone(), sha256: spec.sha256.clone(), ..repo.parse()? };
        let path = if let Some((_, path)) = fetched.iter().find(|(before, _)| *before == wanted) {
            path.clone()
        } else {
            let hub = match &known {
                Some(hub) => hub,
                None => known.insert(hub(args)?),
            };
            fetch(hub, &wanted)?
        };
        fetched.push((wanted, path.clone()));
        spec.model = ModelName::File(path);
    }
    Ok(())
}

/// The hub of the environment, as the flags change it.
fn hub(args: &HubArgs) -> Result<Hub> {
    let hub = Hub::from_env()?;
    let hub = if let Some(token) = &args.hf_token { hub.with_token(token)? } else { hub };
    Ok(if args.offline { hub.with_offline(true) } else { hub })
}

fn fetch(hub: &Hub, wanted: &Wanted) -> Result<PathBuf> {
    let mut bar = progress::Download::default();
    interrupt::listen();
    let found = hub.fetch(wanted, &mut |progress: &Progress<'_>| {
        bar.report(progress);
        !interrupt::stopped()
    })?;
    drop(bar);
    if let Some(error) = found.unasked {
        let path = found.path.display();
        say!("note: the hub could not be asked ({error}); taking what was downloaded before: {path}");
    }
    Ok(found.path)
}

/// Whether a download was stopped on purpose.
pub fn is_cancelled(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(hub::Error::Cancelled))
}
