//! `proxytune eval`

mod args;
mod completions;
mod contenders;
mod json;
mod outcome;
mod page;
mod run;
mod table;

use std::path::Path;

use anyhow::Result;

pub use self::args::Eval;
use self::run::Asked;
use super::report::{BadUsage, Hinted};
use super::terminal::say;
use super::{Done, interrupt, new_file, roles, there};
use crate::eval::task::Task;
use crate::recipe::model_spec::ModelName;
use crate::recipe::{ModelSpec, Recipe};

pub fn run(args: &Eval) -> Result<Done> {
    check(args)?;
    let tasks = args.tasks.iter().map(|name| Task::open(name)).collect::<Result<Vec<_>, _>>()?;
    completions::check(args, &tasks)?;
    let recipe = roles::recipe(&args.models, &args.parts.clone().into(), true)?;
    there::check(&recipe)?;
    let tuned = contenders::tuned(args, &recipe);
    tuned.iter().try_for_each(|(_, recipe)| there::check(recipe))?;
    interrupt::listen();
    let mut asked = Vec::new();
    for (i, (task, data)) in tasks.into_iter().zip(&args.data).enumerate() {
        let results = args.results.get(i).map(AsRef::as_ref);
        asked.push(Asked::of(args, task, data, results, &recipe, tuned.as_ref())?);
    }

    let (mut outcomes, mut ended) = (Vec::new(), Ok(()));
    for asked in asked {
        let (outcome, end) = asked.run(args);
        // An error or ctrl-C loses no answer: the tables have those that there are.
        outcomes.extend(Some(outcome).filter(|outcome| !outcome.rows.is_empty()));
        ended = end;
        if ended.is_err() || interrupt::stopped() {
            break;
        }
    }
    if !outcomes.is_empty() {
        if interrupt::stopped() {
            say!("note: stopped; this is what was answered until then");
        }
        let printed = if args.json { json::print(args, &outcomes) } else { table::print(args, &outcomes) };
        printed?;
        page::write(args, &models(&recipe), &outcomes)?;
    }
    ended?;
    Ok(if interrupt::stopped() { Done::Interrupted } else { Done::Fine })
}

/// The models, without the folders that they lie in.
fn models(recipe: &Recipe) -> String {
    let name = |spec: &ModelSpec| match &spec.model {
        ModelName::File(path) => file_name(path),
        other => other.to_string(),
    };
    let with_adapters = |spec: &ModelSpec| {
        [name(spec)]
            .into_iter()
            .chain(spec.lora.iter().map(|lora| file_name(&lora.path)))
            .collect::<Vec<_>>()
            .join(" + ")
    };
    recipe.models().map(with_adapters).collect::<Vec<_>>().join(", ")
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn check(args: &Eval) -> Result<()> {
    let n = args.tasks.len();
    for (name, paths) in [("data", &args.data), ("results", &args.results)] {
        if paths.len() != n && !(name == "results" && paths.is_empty()) {
            let text =
                format!("expected --{name} once for each of the tasks, of which there are {n}; got {}", paths.len());
            return Err(BadUsage(text)).hint("give them in the tasks' order");
        }
    }
    let n_stdin = args.data.iter().filter(|path| **path == Path::new("-")).count();
    let mut results = args.results.clone();
    results.sort();
    results.dedup();
    if n_stdin > 1 || results.len() < args.results.len() {
        let what = if n_stdin > 1 { "two tasks read stdin" } else { "two tasks write their results to one file" };
        return Err(BadUsage(what.to_owned())).hint("give each a file of its own");
    }
    if let Some(path) = args.html.iter().find(|path| args.data.contains(path) || args.results.contains(path)) {
        let text = format!("--html names {}, which is read or written otherwise", path.display());
        return Err(BadUsage(text)).hint("give it a name of its own");
    }
    args.html.iter().try_for_each(|path| new_file::check(path, true))
}
