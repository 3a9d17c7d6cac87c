//! `proxytune calibrate`

mod report;
mod written;

use anyhow::Result;

use self::report::Found;
use super::progress;
use super::report::{BadUsage, Hinted, hinted};
use super::resolve::Resolved;
use super::scoring::{self, Given};
use super::{Done, args, interrupt, new_file, roles, there};
use crate::eval::calibrate::calibrate;
use crate::eval::kept::{self, Kept};

const NO_ROOM: &str = "TMPDIR names the folder for it, --tokens N takes fewer tokens";

pub fn run(args: &args::Calibrate) -> Result<Done> {
    scoring::check_ctx(args.models.ctx_size)?;
    let recipe = roles::recipe(&args.models, &args.alpha, true)?;
    if recipe.pairs.is_empty() {
        return Err(BadUsage("there is no pair whose weights could be found".to_owned())).hint(
            "name a small tuned model with -me and the same model before its tuning with -ma, or a recipe with -R",
        );
    }
    if let Some(path) = &args.output {
        new_file::check(path, args.overwrite)?;
    }
    there::check(&recipe)?;
    let given = Given::read(&args.file)?;
    let mut resolved = Resolved::of(recipe.clone(), &args.models)?;
    if given.is_text() && resolved.plan.weights().change() {
        return scoring::no_answer("give an α with --alpha N, or prompts and answers in a .jsonl file");
    }
    given.note_left_out(&recipe);
    interrupt::listen();
    given.make_room(&mut resolved, args.models.ctx_size)?;
    let mut ensemble = resolved.ensemble()?;
    let mut texts = given.texts(&ensemble, &recipe, &args.file, None)?;
    texts.truncate(args.tokens as usize);

    let bar = progress::tokens(texts.n_tokens());
    let store = scoring::store(kept::n_bytes(&ensemble, texts.n_tokens()), NO_ROOM)?;
    let kept = Kept::read(&mut ensemble, &texts, store, |done, _| {
        bar.set_position(done as u64);
        !interrupt::stopped()
    });
    bar.finish_and_clear();
    let kept = kept.map_err(told)?;
    if interrupt::stopped() {
        return Ok(Done::Interrupted);
    }
    let bar = progress::spinner();
    bar.set_message("searching the weights");
    let n_threads = resolved.plan.base.source().map_or(1, |source| source.context.n_threads);
    let found = calibrate(&kept, n_threads).map_err(told);
    bar.finish_and_clear();
    let found = Found { calibration: found?, recipe: &recipe, texts: &texts, n_ctx: ensemble.n_ctx() };
    if interrupt::stopped() {
        return Ok(Done::Interrupted);
    }
    let tuned = written::tuned(&recipe, &found.calibration);
    if let Some(path) = &args.output {
        written::write(path, &tuned, args.overwrite)?;
    }
    let printed = if args.json { found.print_json() } else { found.print(args.output.as_deref(), &tuned) };
    printed?;
    Ok(Done::Fine)
}

/// An error with the next step of its own.
fn told(error: kept::Error) -> anyhow::Error {
    match error {
        kept::Error::Steer(error) => error.into(),
        other => hinted(other, NO_ROOM),
    }
}
