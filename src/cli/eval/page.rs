//! What comes of it, as one page for a browser with plots: a file that asks for nothing else.

use std::io::Write;

use anyhow::Result;
use kuva::backend::svg::SvgBackend;
use kuva::plot::ForestPlot;
use kuva::render::layout::Layout;
use kuva::render::plots::Plot;
use kuva::render::render::render_multiple;
use kuva::render::theme::Theme;
use minijinja::{Value, context};

use super::args::Eval;
use super::outcome::Outcome;
use super::table;
use crate::arithmetic::bootstrap::Estimate;
use crate::cli::new_file::NewFile;
use crate::cli::page;
use crate::cli::terminal::say;
use crate::eval::contender::Kind;
use crate::eval::scoring::{Score, Unit};
use crate::eval::standing::{CHOSEN, Row, Verdict};
use crate::eval::task::Task;
use crate::plain::visible;

const TEMPLATE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");

/// Of a plot, in pixels: what a phone shows nearly as it is.
const WIDTH: f64 = 420.0;
const ROW_HEIGHT: f64 = 26.0;
const AXIS_HEIGHT: f64 = 50.0;
/// On either side of what is shown, as a share of it.
const MARGIN: f64 = 0.06;
const NARROW: f64 = 0.1;

pub fn write(args: &Eval, models: &str, outcomes: &[Outcome]) -> Result<()> {
    let Some(path) = &args.html else { return Ok(()) };
    let values = context! {
        title => "Does steering help?",
        style => Value::from_safe_string(STYLE.to_owned()),
        models => visible(models),
        chosen => CHOSEN,
        has_chosen => outcomes.iter().flat_map(|outcome| &outcome.rows).any(|row| row.chosen.is_some()),
        tasks => outcomes.iter().enumerate().map(|(i, outcome)| task(args, outcome, i + 1)).collect::<Vec<_>>(),
    };
    let file = NewFile::create(path, true)?;
    file.file().write_all(page::render(TEMPLATE, &values)?.as_bytes())?;
    file.keep()?;
    say!("note: the page is {}", path.display());
    Ok(())
}

fn task(args: &Eval, outcome: &Outcome, number: usize) -> Value {
    let Outcome { task, n_items, rows, .. } = outcome;
    let cells = |row: &Row| table::cells(task, *n_items, row).iter().map(|cell| visible(cell)).collect::<Vec<_>>();
    let verdict = |row: &Row| {
        let name = row.verdict.map(Verdict::name);
        table::sentences(row).into_iter().map(move |text| context! {name, text => visible(&text)})
    };
    context! {
        title => visible(&table::title(args, outcome)),
        description => task.spec.description.as_deref().map(visible),
        verdicts => rows.iter().flat_map(verdict).collect::<Vec<_>>(),
        plots => plots(task, rows, number),
        heads => table::heads(task).iter().map(|head| visible(head)).collect::<Vec<_>>(),
        rows => rows.iter().map(cells).collect::<Vec<_>>(),
    }
}

/// Every contender's score, and what steering adds to base and expert; none of a task without scores.
fn plots(task: &Task, rows: &[Row], number: usize) -> Vec<Value> {
    let Some(score) = task.compared_by() else { return Vec::new() };
    let place = task.scores().iter().position(|other| *other == score).unwrap_or(0);
    let scores: Vec<_> = rows.iter().map(|row| (row.contender.clone(), row.scores[place], color(row.kind))).collect();
    let base = rows.iter().find(|row| row.kind == Kind::Base).map(|row| row.scores[place].mean);
    let steered = rows.iter().filter(|row| row.kind == Kind::Steered);
    let differences: Vec<_> = steered
        .flat_map(|row| {
            let name = row.contender.trim_start_matches("steered").trim_start_matches([',', ' ']);
            [("base", row.against_base, "var(--ink)"), ("expert", row.against_expert, "var(--accent)")]
                .map(|(other, difference, color)| Some((format!("{name} − {other}"), difference?, color)))
        })
        .flatten()
        // Too few items differ to say more.
        .filter(|(_, difference, _)| difference.interval.is_some())
        .collect();
    let (name, less) = (visible(score.name), if score.unit.sign() < 0.0 { "; less is better" } else { "" });
    let plot = |what: &str, rows: &[(String, Estimate, &str)], line, caption: String| {
        let id = format!("{what}-{number}");
        context! {svg => Value::from_safe_string(forest(score, rows, line, &id)), caption, id}
    };
    let mut plots = Vec::new();
    if !scores.is_empty() {
        let dashed = if base.is_some() { " The dashed line is the base." } else { "" };
        plots.push(plot("scores", &scores, base, format!("{name}, with 95 % intervals{less}.{dashed}")));
    }
    if !differences.is_empty() {
        let caption = format!(
            "What steering adds to {name}, item by item, with 95 % intervals{less}. It helps where both differences are beyond 0 \
             on the better side."
        );
        plots.push(plot("differences", &differences, Some(0.0), caption));
    }
    plots
}

fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Base => "var(--ink)",
        Kind::Expert => "var(--accent)",
        Kind::Antiexpert => "var(--quiet)",
        Kind::Steered => "var(--changed)",
        Kind::Tuned => "var(--gained)",
    }
}

/// Estimates below one another, on a picture that takes its colours from the page and is described by its element `id`.
fn forest(score: Score<'_>, rows: &[(String, Estimate, &str)], line: Option<f64>, id: &str) -> String {
    let factor = if score.unit == Unit::Share { 100.0 } else { 1.0 };
    let spans = rows.iter().map(|(_, of, _)| of.interval.unwrap_or((of.mean, of.mean)));
    let ends = spans.clone().flat_map(|(low, high)| [low, high]).chain(line).map(|end| end * factor);
    let (least, most) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), x| (least.min(x), most.max(x)));
    // Where all is one number, an axis of some width shows it.
    let margin = if most > least { MARGIN * (most - least) } else { NARROW * most.abs().max(1.0) };

    let mut plot = ForestPlot::new().with_marker_size(4.5).with_cap_size(4.0).with_show_null_line(line.is_some());
    if let Some(line) = line {
        plot = plot.with_null_value(line * factor);
    }
    for ((label, of, color), (low, high)) in rows.iter().zip(spans) {
        plot = plot.with_colored_row(visible(label), of.mean * factor, low * factor, high * factor, *color);
    }
    let plots = vec![Plot::Forest(plot)];
    let theme = Theme {
        background: "none".to_owned(),
        axis_color: "var(--quiet)".to_owned(),
        grid_color: "var(--rule)".to_owned(),
        tick_color: "var(--quiet)".to_owned(),
        text_color: "currentColor".to_owned(),
        ..Theme::light()
    };
    let unit = match score.unit {
        Unit::Share => "%",
        Unit::Nats => "nats",
        Unit::Bits => "bits",
    };
    let layout = Layout::auto_from_plots(&plots)
        .with_theme(theme)
        .with_font_family("system-ui, sans-serif")
        .with_x_label(format!("{}, {unit}", visible(score.name)))
        .with_label_size(12)
        .with_x_axis_min(least - margin)
        .with_x_axis_max(most + margin)
        .with_width(WIDTH)
        .with_height(AXIS_HEIGHT + ROW_HEIGHT * rows.len() as f64);
    let scene = render_multiple(plots, layout);
    let (width, height) = (scene.width, scene.height);
    let svg = SvgBackend::default().render_scene(&scene);
    // It scales with the page.
    let scaled = format!("<svg role=\"img\" aria-labelledby=\"{id}\" viewBox=\"0 0 {width} {height}\" ");
    svg.replacen("<svg ", &scaled, 1)
}
