//! What comes of it, for scripts.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::args::Eval;
use super::outcome::Outcome;
use crate::arithmetic::bootstrap::Estimate;
use crate::eval::standing::{Row, Verdict};

/// One object of one task, or of several one with a list of them.
pub fn print(args: &Eval, outcomes: &[Outcome]) -> Result<()> {
    let all = outcomes.iter().map(|outcome| object(args, outcome)).collect::<Result<Vec<_>, _>>()?;
    let value = if args.tasks.len() == 1 { all.into_iter().next().unwrap_or_default() } else { json!({"tasks": all}) };
    writeln!(std::io::stdout().lock(), "{value}")?;
    Ok(())
}

fn object(args: &Eval, Outcome { task, n_items, sampling, rows }: &Outcome) -> serde_json::Result<Value> {
    let estimate = |estimate: &Estimate| {
        let (low, high) = estimate.interval.unzip();
        json!({"mean": estimate.mean, "low": low, "high": high, "n": estimate.n})
    };
    let row = |row: &Row| {
        let names = task.scores().into_iter().map(|score| score.name.to_owned());
        let scores: Map<_, _> = names.zip(row.scores.iter().map(estimate)).collect();
        json!({
            "contender": row.contender, "kind": row.kind.name(), "alpha": row.alpha, "chosen": row.chosen, "n_items": row.n_items,
            "scores": scores, "n_cut_off": row.n_cut, "tokens_per_item": row.tokens_per_item(),
            "tokens_per_second": row.tokens_per_second(), "cost": row.cost,
            "against_base": row.against_base.as_ref().map(estimate),
            "against_expert": row.against_expert.as_ref().map(estimate),
            "gap_closed": row.gap.as_ref().map(estimate),
            "beats_base_and_expert": row.verdict.map(Verdict::name),
        })
    };
    Ok(json!({
        "task": task.name, "metric": task.spec.metric.name(), "n_items": n_items,
        "compared_by": task.compared_by().map(|score| score.name), "greedy": task.n_written().map(|_| !args.recipe_sampling),
        "sampling": task.n_written().map(|_| serde_json::to_value(sampling)).transpose()?, "results": rows.iter().map(row).collect::<Vec<_>>(),
    }))
}
