//! `proxytune perplexity`

use std::io::Write;

use anyhow::Result;
use serde_json::json;

use super::args;
use super::resolve::Resolved;
use super::scoring::{self, Given};
use super::{Done, interrupt, noise, progress, roles};
use crate::eval::perplexity::{Losses, Predictor, PredictorLoss, measure_texts};
use crate::eval::texts::Group;
use crate::parameter::OutOfRange;
use crate::recipe::schedule::check_alpha;
use crate::steer::{Plan, Role};

pub fn run(args: &args::Perplexity) -> Result<Done> {
    args.alpha.iter().try_for_each(|&alpha| check_alpha(alpha))?;
    if args.chunks < -1 || args.chunks == 0 {
        return Err(OutOfRange::new("chunks", args.chunks, "1 or more, or -1 for all").into());
    }
    scoring::check_ctx(args.models.ctx_size)?;
    let mut resolved = Resolved::new(&args.models, &args.parts.clone().into(), true)?;
    let given = Given::read(&args.file)?;
    let predictors = predictors(&args.alpha, &resolved.plan, given.is_text())?;
    given.note_left_out(&resolved.recipe);
    interrupt::listen();
    given.make_room(&mut resolved, args.models.ctx_size)?;
    let mut ensemble = resolved.ensemble()?;
    let texts = given.texts(&ensemble, &resolved.recipe, &args.file, usize::try_from(args.chunks).ok())?;

    if args.quant_noise {
        return noise::run(&mut ensemble, &texts, args.json);
    }
    let bar = progress::tokens(texts.n_tokens());
    let report = measure_texts(&mut ensemble, &texts, &predictors, |done, _| {
        bar.set_position(done as u64);
        !interrupt::stopped()
    })?;
    bar.finish_and_clear();
    let printed = if args.json { print_json(&report, &texts) } else { print_table(&report, texts.group) };
    printed?;
    Ok(if interrupt::stopped() { Done::Interrupted } else { Done::Fine })
}

/// What was typed, else round values and the recipe's own; each once, in order. Weights of a recipe that are not one α are
/// measured too. None for a base by itself.
fn predictors(typed: &[f32], plan: &Plan, is_text: bool) -> Result<Vec<Predictor>> {
    if plan.pairs.is_empty() {
        return if typed.is_empty() { Ok(Vec::new()) } else { roles::no_pair() };
    }
    let weights = plan.weights();
    let has_answer = !weights.change() || !is_text;
    if typed.is_empty() && !has_answer {
        return scoring::no_answer("give values of α with --alpha N,N");
    }
    let own = weights.one_alpha();
    let mut alphas = typed.to_vec();
    if typed.is_empty() {
        alphas.extend([0.5, 1.0, 1.5]);
        alphas.extend(own);
    }
    alphas.sort_by(f32::total_cmp);
    alphas.dedup();
    let planned = (own.is_none() && has_answer).then_some(Predictor::Planned);
    Ok(alphas.into_iter().map(Predictor::Steered).chain(planned).collect())
}

fn name(row: &PredictorLoss) -> String {
    match row.predictor {
        Predictor::Alone(role) => role.to_string(),
        Predictor::Steered(alpha) => format!("steered α = {alpha}"),
        Predictor::Planned => "steered, own weights".to_owned(),
    }
}

fn print_table(report: &Losses, group: Group) -> std::io::Result<()> {
    const WIDTH: usize = 20;
    let mut out = std::io::stdout().lock();
    let Losses { n_tokens, n_texts, n_texts_all, n_ctx, rows, expert } = report;
    writeln!(out, "{}\n", scoring::counted(*n_tokens, *n_texts, *n_texts_all, group, *n_ctx))?;
    writeln!(out, "{}", scoring::head(WIDTH, expert.is_some()))?;
    for row in rows {
        let is_base = row.predictor == Predictor::Alone(Role::Base);
        writeln!(out, "{}", scoring::line(&name(row), WIDTH, &row.figures, is_base, *expert))?;
    }
    Ok(())
}

fn print_json(report: &Losses, texts: &crate::eval::Texts) -> std::io::Result<()> {
    let Losses { n_tokens, n_texts, n_texts_all, n_ctx, rows, expert } = report;
    let row = |row: &PredictorLoss| {
        let (role, alpha) = match row.predictor {
            Predictor::Alone(role) => (role.to_string(), None),
            Predictor::Steered(alpha) => ("steered".to_owned(), Some(alpha)),
            Predictor::Planned => ("steered".to_owned(), None),
        };
        let mut object = serde_json::Map::new();
        object.insert("role".to_owned(), json!(role));
        object.insert("alpha".to_owned(), json!(alpha));
        object.extend(scoring::object(&row.figures, *expert));
        object
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    let object = match texts.group {
        Group::Window => json!({"n_tokens": n_tokens, "n_windows": n_texts, "n_windows_all": n_texts_all,
                                "n_ctx": n_ctx, "results": rows}),
        Group::Document => json!({"n_tokens": n_tokens, "n_documents": n_texts, "n_documents_all": n_texts_all,
                                  "n_too_long": texts.n_too_long, "n_ctx": n_ctx, "results": rows}),
    };
    writeln!(std::io::stdout().lock(), "{object}")
}
