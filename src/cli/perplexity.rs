//! `proxytune perplexity`

use std::io::Write;

use anyhow::{Result, anyhow};
use serde_json::json;

use super::args;
use super::report::{BadUsage, Hinted};
use super::resolve::{self, Resolved};
use super::terminal::say;
use super::text::read_text;
use super::{Done, interrupt, progress, roles};
use crate::eval::perplexity::{Losses, Predictor, PredictorLoss, measure};
use crate::parameter::OutOfRange;
use crate::recipe::schedule::check_alpha;
use crate::recipe::{Recipe, View};
use crate::steer::{Role, Texts};

/// llama-perplexity's window.
const DEFAULT_WINDOW: usize = 512;
/// Most windows at once: each has a KV cache of its own.
const MAX_WINDOWS: usize = 16;
/// What the rows of one decode may take, for each lane.
const ROWS_BYTES: usize = 64 << 20;

pub fn run(args: &args::Perplexity) -> Result<Done> {
    args.alpha.iter().try_for_each(|&alpha| check_alpha(alpha))?;
    if args.chunks < -1 || args.chunks == 0 {
        return Err(OutOfRange::new("chunks", args.chunks, "1 or more, or -1 for all").into());
    }
    if args.models.ctx_size == Some(1) {
        return Err(OutOfRange::new("ctx-size", 1, "2 or more: one token to predict the next").into());
    }
    let mut resolved = Resolved::new(&args.models, &args.parts.clone().into(), true)?;
    let predictors = predictors(&args.alpha, &resolved.recipe)?;
    say_what_is_left_out(&resolved.recipe);
    let text = read_text(&args.file)?;
    interrupt::listen();
    let facts = resolve::set_ctx(&mut resolved.plan, args.models.ctx_size, DEFAULT_WINDOW)?;
    for context in resolved.plan.contexts_mut() {
        context.n_outputs_max = (ROWS_BYTES / (size_of::<f32>() * facts.n_vocab)).clamp(1, context.n_batch);
    }
    let mut plan = resolved.plan.clone();
    // As many windows at once as a batch holds.
    let n_at_once = plan.contexts_mut().map(|context| context.n_batch / context.n_ctx.max(1)).min().unwrap_or(1);
    plan.texts = Texts::apart(n_at_once.clamp(1, MAX_WINDOWS));
    let mut ensemble = resolved.ensemble(&plan)?;

    let bar = progress::tokens(text.len());
    let report = measure(&mut ensemble, &text, &predictors, usize::try_from(args.chunks).ok(), |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        !interrupt::stopped()
    })?;
    bar.finish_and_clear();
    if report.n_tokens == 0 {
        return Err(anyhow!("{} holds no token to predict", args.file.display()))
            .hint("give a text of a few sentences");
    }
    let printed = if args.json { print_json(&report) } else { print_table(&report) };
    printed?;
    Ok(if interrupt::stopped() { Done::Interrupted } else { Done::Fine })
}

/// What was typed, else round values and the recipe's own; each once, in order. Pairs that the recipe steers each at
/// its own α are measured so too. None for a base by itself.
fn predictors(typed: &[f32], recipe: &Recipe) -> Result<Vec<Predictor>> {
    if recipe.pairs.is_empty() {
        return if typed.is_empty() { Ok(Vec::new()) } else { roles::no_pair() };
    }
    let own: Vec<_> = recipe.pairs.iter().map(|pair| pair.alpha.as_constant()).collect();
    let own = own.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| {
        BadUsage("the recipe changes α along the answer, and a text to predict has no answer".to_owned())
    });
    let own = if typed.is_empty() { own.hint("give values of α with --alpha N,N")? } else { Vec::new() };
    let differ = own.windows(2).any(|pair| pair[0] != pair[1]);
    let mut alphas = typed.to_vec();
    if typed.is_empty() {
        alphas.extend([0.5, 1.0, 1.5]);
        if !differ {
            alphas.extend(own);
        }
    }
    alphas.sort_by(f32::total_cmp);
    alphas.dedup();
    let planned = differ.then_some(Predictor::Planned);
    Ok(alphas.into_iter().map(Predictor::Steered).chain(planned).collect())
}

/// Every role predicts the same text.
fn say_what_is_left_out(recipe: &Recipe) {
    if recipe.models().any(|spec| spec.view != View::default()) {
        say!("note: every role is given the text as it is; templates and prompts of the roles are left out");
    }
    if recipe.sampling.plausibility > 0.0 {
        say!("note: the plausibility cut is left out: it gives some tokens no probability at all");
    }
}

fn name(row: &PredictorLoss) -> String {
    match row.predictor {
        Predictor::Alone(role) => role.to_string(),
        Predictor::Steered(alpha) => format!("steered α = {alpha}"),
        Predictor::Planned => "steered, own α".to_owned(),
    }
}

fn print_table(report: &Losses) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let Losses { n_tokens, n_windows, n_windows_all, n_ctx, rows } = report;
    if n_windows < n_windows_all {
        writeln!(out, "stopped: {n_tokens} tokens predicted in {n_windows} of {n_windows_all} windows of {n_ctx}\n")?;
    } else {
        writeln!(out, "{n_tokens} tokens predicted in {n_windows} windows of {n_ctx}\n")?;
    }
    writeln!(
        out,
        "{:<18} {:>10} {:>8} {:>11}   {:>12} {:>8}",
        "", "nats/token", "±", "perplexity", "against base", "±"
    )?;
    for row in rows {
        let (loss, error) = (row.loss.mean(), shown(row.loss.standard_error()));
        write!(out, "{:<18} {loss:>10.4} {error:>8} {:>11.2}", name(row), row.perplexity())?;
        if row.predictor == Predictor::Alone(Role::Base) {
            writeln!(out)?;
        } else {
            let (mean, error) = (row.against_base.mean(), shown(row.against_base.standard_error()));
            writeln!(out, "   {mean:>+12.4} {error:>8}")?;
        }
    }
    Ok(())
}

/// One window has no spread.
fn shown(error: f64) -> String {
    if error.is_nan() { "–".to_owned() } else { format!("{error:.4}") }
}

fn print_json(report: &Losses) -> std::io::Result<()> {
    let row = |row: &PredictorLoss| {
        let (role, alpha) = match row.predictor {
            Predictor::Alone(role) => (role.to_string(), None),
            Predictor::Steered(alpha) => ("steered".to_owned(), Some(alpha)),
            Predictor::Planned => ("steered".to_owned(), None),
        };
        json!({
            "role": role, "alpha": alpha, "nats_per_token": row.loss.mean(),
            "standard_error": row.loss.standard_error(), "perplexity": row.perplexity(),
            "against_base": row.against_base.mean(), "against_base_standard_error": row.against_base.standard_error(),
        })
    };
    let rows: Vec<_> = report.rows.iter().map(row).collect();
    let object = json!({"n_tokens": report.n_tokens, "n_windows": report.n_windows, "n_windows_all": report.n_windows_all,
               "n_ctx": report.n_ctx, "results": rows});
    writeln!(std::io::stdout().lock(), "{object}")
}
