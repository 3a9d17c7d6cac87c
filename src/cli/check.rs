//! `proxytune check`

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent};
use serde_json::{Value, json};

use super::alpha::Alpha;
use super::resolve::{self, Resolved};
use super::terminal::has_colour;
use super::{Done, args, fit, hashes, interrupt, probe, progress};
use crate::arithmetic::units;
use crate::inspect::memory::{Device, Need};
use crate::inspect::model::{File, Model};
use crate::inspect::probe::Request;
use crate::inspect::{Finding, Inspection, Level, check, server};
use crate::llama::context::{ContextParams, Sequences};
use crate::plain::plain;
use crate::steer::Plan;

pub fn run(args: &args::Check) -> Result<Done> {
    let models = &args.models;
    let Resolved { recipe, mut plan, backend, .. } = Resolved::new(models, &Alpha::default(), true)?;
    for (_, source) in plan.sources() {
        let n_ctx = models.ctx_size.map_or(1, |n| n.max(1) as usize);
        ContextParams { n_ctx, ..source.context.clone() }.check()?;
    }
    interrupt::listen();
    let n_ctx = |trained| resolve::n_ctx(models.ctx_size, resolve::DEFAULT_CTX, trained);
    if let Ok(facts) = plan.check() {
        plan.contexts_mut().for_each(|context| context.n_ctx = n_ctx(facts.n_ctx_train));
    }
    let fitted = fit::apply(&mut plan, models.fit.margin(), &backend, &models.rpc);
    let bar = progress::spinner();
    let mut inspection = check(&backend, &plan, n_ctx, &mut |role, source| {
        let name = source.path.file_name().unwrap_or_default().to_string_lossy();
        bar.set_message(plain(&format!("looking at the {role}, {name}")));
        let (source, rpc) = (source.clone(), models.rpc.clone());
        probe::ask(&Request { source, sequences: Sequences::ONE, rpc, deep: args.deep }, models.verbose)
    });
    bar.finish_and_clear();
    // Of files that cannot run there is nothing to ask a server.
    if inspection.can_run() {
        inspection.findings.extend(server(&backend, &plan));
    }
    inspection.findings.splice(0..0, hashes::findings(&recipe)?);
    inspection.findings.extend(fitted.iter().map(|fitted| Finding {
        level: Level::Note,
        topic: "fit",
        role: Some(fitted.role),
        text: fitted.to_string(),
        advice: None,
    }));
    if interrupt::stopped() {
        return Ok(Done::Interrupted);
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", object(&inspection, &plan))?;
    } else {
        print(&mut out, &inspection, &plan)?;
    }
    Ok(if inspection.can_run() { Done::Fine } else { Done::Failed })
}

/// One row of the table: what it is called, and what it says of a file.
type FileRow = (&'static str, fn(&File) -> String);

const ROWS: [FileRow; 9] = [
    ("name", |file| file.name().unwrap_or("–").to_owned()),
    ("architecture", |file| file.header.architecture()),
    ("parameters", |file| units::parameters(file.n_params())),
    ("quantisation", |file| file.header.quantisation()),
    ("trained on", |file| format!("{} tokens", file.n_ctx_train())),
    ("vocabulary", |file| file.vocabulary.len().to_string()),
    ("tokenizer", |file| format!("{} {}", file.vocabulary.tokenizer(), file.vocabulary.splitter()).trim().to_owned()),
    ("template", |file| if file.template().is_some() { "yes" } else { "no" }.to_owned()),
    ("softcap", |file| file.softcap().map_or("no".to_owned(), |cap| cap.to_string())),
];

fn print(out: &mut impl Write, inspection: &Inspection, plan: &Plan) -> std::io::Result<()> {
    // Of a file that cannot be read, the findings say all that there is to say.
    if inspection.models.iter().any(|model| model.file.is_ok()) {
        writeln!(out, "{}\n", table(inspection, plan))?;
        writeln!(out, "Memory for a context of {} tokens:", inspection.n_ctx)?;
        inspection.devices.iter().try_for_each(|device| writeln!(out, "  {}", memory(device)))?;
        writeln!(out)?;
    }
    findings(out, inspection)
}

/// The files that could be read, side by side.
fn table(inspection: &Inspection, plan: &Plan) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_style(TableComponent::HeaderLines, '─');
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    let readable = inspection.models.iter().zip(&inspection.needs);
    let columns: Vec<_> = readable
        .filter_map(|(model, need)| Some((model, model.file.as_ref().ok()?, need.unwrap_or_default())))
        .collect();
    let row = |name: &str, cell: &dyn Fn(&Model, &File, &Need) -> String| {
        let cells = columns.iter().map(|(model, file, need)| in_a_cell(&cell(model, file, need)));
        std::iter::once(name.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    table.set_header(row("", &|model, _, _| roles(plan, &model.path).join(", ")));
    table.add_row(row("file", &|model, _, _| {
        model.path.file_name().unwrap_or(model.path.as_os_str()).to_string_lossy().into_owned()
    }));
    for (name, say) in ROWS {
        table.add_row(row(name, &|_, file, _| say(file)));
    }
    table.add_row(row("BOS, EOG", &|model, _, _| ends(model)));
    table.add_row(row("on disk", &|_, file, _| on_disk(file)));
    let known = |n: Option<u64>| n.map_or("?".to_owned(), units::bytes);
    table.add_row(row("weights", &|_, _, need| units::bytes(need.weights)));
    table.add_row(row("KV cache", &|_, _, need| known(need.kv)));
    table.add_row(row("computing", &|_, _, need| known(need.compute)));
    for i in 1..=columns.len() {
        if let Some(column) = table.column_mut(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn memory(device: &Device) -> String {
    let Device { name, weights, mapped, kv, compute, free, total } = device;
    let [weights, mapped_bytes, kv, compute, free, total] =
        [weights, mapped, kv, compute, free, total].map(|n| units::bytes(*n));
    // Where all of them are pages of the file, or none, there is nothing to tell apart.
    let mapped = match *mapped {
        0 => String::new(),
        n if n == device.weights => " (mapped)".to_owned(),
        _ => format!(" ({mapped_bytes} mapped, the rest repacked)"),
    };
    format!("{name}: weights {weights}{mapped}, KV cache {kv}, computing {compute}; {free} available of {total}")
}

fn findings(out: &mut impl Write, inspection: &Inspection) -> std::io::Result<()> {
    let width = |finding: &Finding| subject(finding).chars().count();
    let width = inspection.findings.iter().map(width).max().unwrap_or(0);
    let colour = has_colour();
    for finding in &inspection.findings {
        let level = level(finding.level, colour);
        writeln!(out, "{level} {:<width$}  {}", subject(finding), plain(&finding.text))?;
        if let Some(advice) = &finding.advice {
            writeln!(out, "{:8} {:width$}  hint: {}", "", "", plain(advice))?;
        }
    }
    let count = |level| inspection.findings.iter().filter(|finding| finding.level == level).count();
    let n = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let warnings = n(count(Level::Warning), "warning");
    if inspection.can_run() {
        writeln!(out, "\nThis can run: {warnings}.")
    } else {
        writeln!(out, "\nThis cannot run: {}, {warnings}.", n(count(Level::Refused), "refusal"))
    }
}

/// Who a finding is about and what: `expert vocabulary`.
fn subject(finding: &Finding) -> String {
    finding.role.map_or(finding.topic.to_owned(), |role| format!("{role} {}", finding.topic))
}

fn level(level: Level, colour: bool) -> String {
    let (name, code) = match level {
        Level::Ok => ("ok", 32),
        Level::Note => ("note", 36),
        Level::Warning => ("warning", 33),
        Level::Refused => ("refused", 31),
    };
    if colour { format!("\x1b[{code}m{name:<8}\x1b[0m") } else { format!("{name:<8}") }
}

/// Every role that a file plays.
fn roles(plan: &Plan, path: &Path) -> Vec<String> {
    plan.sources().filter(|(_, source)| source.path == path).map(|(role, _)| role.to_string()).collect()
}

/// The token in front of a text, and those that end one.
fn ends(model: &Model) -> String {
    let Some(vocabulary) = model.report().and_then(|report| report.vocabulary.as_ref().ok()) else {
        return "?".to_owned();
    };
    let shown = |id: i32| {
        let id = usize::try_from(id).ok()?;
        model.file.as_ref().ok()?.vocabulary.shown(id)
    };
    let bos = vocabulary.bos.filter(|_| vocabulary.add_bos).and_then(shown);
    let eog: Vec<_> = vocabulary.eog.iter().map(|(_, name)| name.as_str()).collect();
    format!("{}, {}", bos.unwrap_or("none".to_owned()), if eog.is_empty() { "none".to_owned() } else { eog.join(" ") })
}

/// A file may call itself anything.
fn in_a_cell(text: &str) -> String {
    const MAX_CHARS: usize = 48;
    let text = plain(text).replace('\n', " ");
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn on_disk(file: &File) -> String {
    match file.header.size() {
        (1, size) => units::bytes(size),
        (n, size) => format!("{} in {n} files", units::bytes(size)),
    }
}

fn object(inspection: &Inspection, plan: &Plan) -> Value {
    let model = |(i, model): (usize, &Model)| {
        let mut value = json!({"roles": roles(plan, &model.path), "path": model.path});
        if let Ok(file) = &model.file {
            let vocabulary = &file.vocabulary;
            let (n_files, n_bytes) = file.header.size();
            value["name"] = json!(file.name());
            value["architecture"] = json!(file.header.architecture());
            value["n_params"] = json!(file.n_params());
            value["quantisation"] = json!(file.header.quantisation());
            value["n_ctx_train"] = json!(file.n_ctx_train());
            value["n_vocab"] = json!(vocabulary.len());
            value["tokenizer"] = json!(vocabulary.tokenizer());
            value["pre"] = json!(vocabulary.splitter());
            value["template"] = json!(file.template().is_some());
            value["softcap"] = json!(file.softcap());
            value["n_files"] = json!(n_files);
            value["n_bytes"] = json!(n_bytes);
        }
        if let Some(Ok(vocabulary)) = model.report().map(|report| &report.vocabulary) {
            value["bos"] = json!(vocabulary.bos);
            value["add_bos"] = json!(vocabulary.add_bos);
            value["eog"] = vocabulary.eog.iter().map(|(id, _)| json!(id)).collect();
        }
        if let Some(Ok(invariance)) = model.report().and_then(|report| report.decoded.as_ref()) {
            value["batch_invariant"] = json!(invariance.holds());
        }
        if let Some(need) = inspection.needs[i] {
            value["memory"] = json!({"weights": need.weights, "kv": need.kv, "compute": need.compute});
        }
        value
    };
    let finding = |finding: &Finding| {
        json!({"level": finding.level.name(), "topic": finding.topic, "role": finding.role.map(|role| role.to_string()),
               "text": finding.text, "hint": finding.advice})
    };
    let device = |device: &Device| {
        json!({"name": device.name, "weights": device.weights, "mapped": device.mapped, "kv": device.kv, "compute": device.compute,
               "free": device.free, "total": device.total})
    };
    json!({
        "can_run": inspection.can_run(), "n_ctx": inspection.n_ctx,
        "models": inspection.models.iter().enumerate().map(model).collect::<Vec<_>>(),
        "devices": inspection.devices.iter().map(device).collect::<Vec<_>>(),
        "findings": inspection.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}
