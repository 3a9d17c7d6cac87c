//! What comes of it, as a table with a verdict and as JSON.

use std::io::Write;

use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::{Map, Value, json};

use super::args::Eval;
use crate::arithmetic::bootstrap::Estimate;
use crate::cli::terminal::shown;
use crate::eval::runner::Kind;
use crate::eval::standing::{Row, Verdict};
use crate::eval::task::Task;
use crate::sampling::Sampling;

pub fn print(args: &Eval, task: &Task, sampling: &Sampling, n_items: usize, rows: &[Row]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json(args, task, sampling, n_items, rows)?)?;
        return Ok(());
    }
    let items = if n_items == 1 { "item" } else { "items" };
    writeln!(out, "{}, {n_items} {items}, {}\n", shown(&task.name), in_words(args, sampling))?;
    writeln!(out, "{}", shown(&table(task, n_items, rows).to_string()))?;
    let verdicts: Vec<_> = rows.iter().filter_map(|row| Some((row, row.verdict()?))).collect();
    if !verdicts.is_empty() {
        writeln!(out)?;
    }
    for (row, verdict) in verdicts {
        writeln!(
            out,
            "{} beats base and expert alone: {}, by the paired 95 % intervals",
            shown(&row.contender),
            verdict.name()
        )?;
    }
    Ok(())
}

/// How answers were sampled, in words.
fn in_words(args: &Eval, sampling: &Sampling) -> String {
    let cut = match sampling.plausibility {
        0.0 => String::new(),
        cut => format!(", plausibility {cut}"),
    };
    if args.recipe_sampling {
        let seed = sampling.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
        format!("sampled as the recipe says (temp {}{seed}{cut})", sampling.temp)
    } else {
        format!("greedy{cut}")
    }
}

fn table(task: &Task, n_items: usize, rows: &[Row]) -> Table {
    let by = task.compared_by();
    let mut table = Table::new();
    let filters = task.exact.names().flat_map(|name| [name.to_owned(), "95 %".to_owned()]);
    let against = ["base", "expert"].map(|other| format!("against {other} ({by})"));
    let heads = [String::new()].into_iter().chain(filters);
    let heads = heads.chain(["cut off", "tokens", "tok/s"].map(str::to_owned)).chain(against);
    table.load_preset(NOTHING).set_header(heads.collect::<Vec<_>>());
    for row in rows {
        // A contender that was broken off has fewer.
        let n = if row.n_items < n_items { format!(" ({} items)", row.n_items) } else { String::new() };
        let shares = row.shares.iter().flat_map(|share| [percent(share.mean), between(share)]);
        let pace = [
            row.n_cut.to_string(),
            per_item(row).map_or("–".to_owned(), |n| format!("{n:.0}")),
            format!("{:.1}", per_second(row)),
        ];
        let against = [&row.against_base, &row.against_expert];
        let against = against.map(|difference| difference.as_ref().map_or("–".to_owned(), points));
        let cells = [format!("{}{n}", row.contender)].into_iter().chain(shares).chain(pace).chain(against);
        table.add_row(cells.collect::<Vec<_>>());
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The interval of a share.
fn between(share: &Estimate) -> String {
    share.interval.map_or("–".to_owned(), |(low, high)| format!("{:.1} to {:.1}", low * 100.0, high * 100.0))
}

/// A difference of two shares, in percentage points.
fn points(difference: &Estimate) -> String {
    let interval = difference.interval.map(|(low, high)| format!(" ({:+.1} to {:+.1})", low * 100.0, high * 100.0));
    format!("{:+.1}{}", difference.mean * 100.0, interval.unwrap_or_default())
}

/// Tokens of an answer, on average.
fn per_item(row: &Row) -> Option<f64> {
    (row.n_items > 0).then(|| row.n_tokens as f64 / row.n_items as f64)
}

fn per_second(row: &Row) -> f64 {
    row.n_tokens as f64 / row.seconds.max(f64::MIN_POSITIVE)
}

fn json(args: &Eval, task: &Task, sampling: &Sampling, n_items: usize, rows: &[Row]) -> serde_json::Result<Value> {
    let estimate = |estimate: &Estimate| {
        let (low, high) = estimate.interval.unzip();
        json!({"mean": estimate.mean, "low": low, "high": high, "n": estimate.n})
    };
    let row = |row: &Row| {
        let scores: Map<_, _> = task.exact.names().map(str::to_owned).zip(row.shares.iter().map(estimate)).collect();
        json!({
            "contender": row.contender, "kind": kind(row.kind), "n_items": row.n_items, "scores": scores,
            "n_cut_off": row.n_cut, "tokens_per_item": per_item(row), "tokens_per_second": per_second(row),
            "against_base": row.against_base.as_ref().map(estimate),
            "against_expert": row.against_expert.as_ref().map(estimate),
            "beats_base_and_expert": row.verdict().map(Verdict::name),
        })
    };
    Ok(json!({
        "task": task.name, "n_items": n_items, "compared_by": task.compared_by(), "greedy": !args.recipe_sampling,
        "sampling": serde_json::to_value(sampling)?, "results": rows.iter().map(row).collect::<Vec<_>>(),
    }))
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Base => "base",
        Kind::Expert => "expert",
        Kind::Antiexpert => "antiexpert",
        Kind::Steered => "steered",
        Kind::Tuned => "tuned",
    }
}
