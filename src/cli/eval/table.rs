//! What comes of it, as tables with verdicts.

use std::io::Write;

use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::args::Eval;
use super::outcome::Outcome;
use crate::arithmetic::bootstrap::Estimate;
use crate::cli::terminal::shown;
use crate::eval::scoring::{Score, Unit};
use crate::eval::standing::Row;
use crate::eval::task::Task;
use crate::sampling::Sampling;

pub fn print(args: &Eval, outcomes: &[Outcome]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for (i, outcome) in outcomes.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        let Outcome { task, n_items, rows, .. } = outcome;
        writeln!(out, "{}\n", shown(&title(args, outcome)))?;
        writeln!(out, "{}", shown(&table(task, *n_items, rows).to_string()))?;
        let sentences: Vec<_> = rows.iter().flat_map(sentences).collect();
        if !sentences.is_empty() {
            writeln!(out)?;
        }
        for sentence in sentences {
            writeln!(out, "{}", shown(&sentence))?;
        }
    }
    Ok(())
}

/// The task, how many items, and how they were answered.
pub fn title(args: &Eval, Outcome { task, n_items, sampling, .. }: &Outcome) -> String {
    let items = if *n_items == 1 { "item" } else { "items" };
    let how = if task.n_written().is_some() { in_words(args, sampling) } else { "by log-likelihood".to_owned() };
    format!("{}, {n_items} {items}, {how}", task.name)
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

/// What a row comes to.
pub fn sentences(row: &Row) -> Vec<String> {
    let mut all = Vec::new();
    if let Some([even, odd]) = &row.chosen {
        let chosen = if even == odd { format!("{even} on both") } else { format!("{even} and {odd}") };
        all.push(format!("best on the halves: {chosen}"));
    }
    if let Some(verdict) = row.verdict {
        let (name, verdict) = (&row.contender, verdict.name());
        all.push(format!("{name} beats base and expert alone: {verdict}, by the paired 95 % intervals"));
    }
    if let Some(gap) = &row.gap {
        all.push(format!("{} closes {} of the gap to the tuned model", row.contender, share_between(gap)));
    }
    all
}

fn table(task: &Task, n_items: usize, rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(heads(task));
    for row in rows {
        table.add_row(cells(task, n_items, row));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

pub fn heads(task: &Task) -> Vec<String> {
    let mut heads = vec![String::new()];
    heads.extend(task.scores().iter().flat_map(|score| [score.name.to_owned(), "95 %".to_owned()]));
    let compared = task.compared_by();
    heads.extend(compared.iter().flat_map(|by| ["base", "expert"].map(|of| format!("against {of} ({})", by.name))));
    heads.extend(task.n_written().map(|_| "cut off".to_owned()));
    heads.extend(["tokens", "tok/s", "cost"].map(str::to_owned));
    heads
}

/// A row below the heads.
pub fn cells(task: &Task, n_items: usize, row: &Row) -> Vec<String> {
    const NONE: &str = "–";
    // A contender that was broken off has fewer.
    let n = if row.n_items < n_items { format!(" ({} items)", row.n_items) } else { String::new() };
    let mut cells = vec![format!("{}{n}", row.contender)];
    let scores = task.scores().into_iter().zip(&row.scores);
    cells.extend(scores.flat_map(|(score, of)| [value(score, of.mean), between(score, of)]));
    let against = [&row.against_base, &row.against_expert];
    cells.extend(
        task.compared_by()
            .iter()
            .flat_map(|by| against.map(|difference| difference.as_ref().map_or(NONE.to_owned(), |of| points(*by, of)))),
    );
    cells.extend(task.n_written().map(|_| row.n_cut.to_string()));
    cells.push(row.tokens_per_item().map_or(NONE.to_owned(), |n| format!("{n:.0}")));
    cells.push(format!("{:.1}", row.tokens_per_second()));
    cells.push(row.cost.map_or(NONE.to_owned(), |cost| format!("{cost:.2} ×")));
    cells
}

/// A score as people read it: a share in per cent.
fn value(score: Score<'_>, value: f64) -> String {
    match score.unit {
        Unit::Share => format!("{:.1} %", value * 100.0),
        Unit::Nats | Unit::Bits => format!("{value:.4}"),
    }
}

/// The interval of a score.
fn between(score: Score<'_>, of: &Estimate) -> String {
    of.interval.map_or("–".to_owned(), |(low, high)| match score.unit {
        Unit::Share => format!("{:.1} to {:.1}", low * 100.0, high * 100.0),
        Unit::Nats | Unit::Bits => format!("{low:.4} to {high:.4}"),
    })
}

/// A difference of two scores; of shares in percentage points.
fn points(score: Score<'_>, of: &Estimate) -> String {
    let number = |x: f64| match score.unit {
        Unit::Share => format!("{:+.1}", x * 100.0),
        Unit::Nats | Unit::Bits => format!("{x:+.4}"),
    };
    let interval = of.interval.map(|(low, high)| format!(" ({} to {})", number(low), number(high)));
    number(of.mean) + &interval.unwrap_or_default()
}

fn share_between(of: &Estimate) -> String {
    let interval = of.interval.map(|(low, high)| format!(" ({:.0} to {:.0})", low * 100.0, high * 100.0));
    format!("{:.0} %{}", of.mean * 100.0, interval.unwrap_or_default())
}
