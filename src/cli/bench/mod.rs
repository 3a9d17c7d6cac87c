//! `proxytune bench`

mod markdown;
mod table;

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::{self, BenchOutput};
use super::report::{BadUsage, Hinted};
use super::resolve::{self, Resolved};
use super::terminal::{say, shown};
use super::text::read_text;
use super::{Done, deterministic, interrupt, progress, roles, there};
use crate::bench::{self, Measurement, N_ROWS, Report, Settings, Subjects, prompts};
use crate::prompt::{Conversation, Message, Speaker};
use crate::recipe::Recipe;
use crate::sampling::Sampling;
use crate::steer::WeightsRequest;

/// What a chat template may put around a prompt.
const TEMPLATE_TOKENS: usize = 128;
/// The seed unless one is given: every run draws alike.
const SEED: u32 = 1;

/// Repetitions where none are asked for, as in llama-bench, and the time that they may take for prompts and for texts: a
/// large model is measured in minutes, a small one in seconds.
const REPETITIONS: u32 = 5;
const TIME: Duration = Duration::from_secs(90);

pub fn run(args: &args::Bench) -> Result<Done> {
    if args.n_prompt == 0 && args.n_gen == 0 {
        return Err(BadUsage("there is nothing to measure: -p and -n are 0".to_owned())).hint("leave one of them out");
    }
    let sampling = args.sampling.over(&Sampling { seed: Some(SEED), ..Sampling::greedy() }, true)?;
    let recipe = roles::recipe(&args.models, &args.alpha, true)?;
    there::check(&recipe)?;
    let given = args.file.as_deref().map(read_text).transpose()?;
    let mut resolved = Resolved::of(recipe, &args.models)?;
    let settings = Settings {
        n_prompt: args.n_prompt as usize,
        n_gen: args.n_gen as usize,
        n_repetitions: args.repetitions.unwrap_or(REPETITIONS) as usize,
        time: args.repetitions.is_none().then_some(TIME),
        warms_up: !args.no_warmup,
        sampling,
        weights: WeightsRequest::default(),
        draft: deterministic::drafts(&args.models, &args.draft, &resolved.plan)?,
    };
    let conversations = conversations(given.as_deref(), &resolved.recipe)?;
    let cancel = interrupt::listen();
    make_room(&mut resolved, &settings, &conversations, args.models.ctx_size)?;
    let ensemble = resolved.ensemble()?;
    let mut subjects = Subjects::new(&resolved.plan, ensemble)?;
    if let Some(note) = settings.draft.note(subjects.engine.ensemble()).filter(|_| subjects.is_steered) {
        say!("note: {note}");
    }

    let mut bar = progress::Measuring::default();
    let measured = bench::measure(&resolved.backend, &mut subjects, &settings, &conversations, cancel, &mut |run| {
        bar.report(run.what, run.expected);
    });
    drop(bar);
    let report = measured.or_else(with_hint)?;
    // Stopped before anything was measured, there is nothing to print.
    if !report.rows.is_empty() {
        if interrupt::stopped() {
            say!("note: stopped; this is what was measured until then");
        }
        print(&report, args.output)?;
    }
    Ok(if interrupt::stopped() { Done::Interrupted } else { Done::Fine })
}

/// The prompts as every role is given them: the recipe's first and those that are built in, or those of a text.
fn conversations(given: Option<&str>, recipe: &Recipe) -> Result<Vec<Conversation>> {
    let texts: Vec<String> = match given {
        Some(text) => prompts::split(text),
        None => recipe.example_prompt.iter().cloned().chain(prompts::PROMPTS.map(str::to_owned)).collect(),
    };
    if texts.is_empty() {
        return Err(BadUsage("the file holds no prompt".to_owned())).hint("give one a line, or one a paragraph");
    }
    let system = recipe.system_prompt.iter().map(|text| Message::new(Speaker::System, text.as_str()));
    let system: Vec<_> = system.collect();
    let conversation = |text: String| {
        let mut conversation = Conversation { messages: system.clone(), ..Conversation::default() };
        conversation.messages.push(Message::new(Speaker::User, text));
        conversation
    };
    Ok(texts.into_iter().map(conversation).collect())
}

/// Gives every context the size that the tests need, or that was asked for, and room for the rows of a step.
fn make_room(
    resolved: &mut Resolved,
    settings: &Settings,
    conversations: &[Conversation],
    asked: Option<u32>,
) -> Result<()> {
    let Settings { n_prompt, n_gen, draft, .. } = settings;
    // A token is a byte at least, as good as always.
    let n_bytes = |conversation: &Conversation| {
        conversation.messages.iter().map(|message| message.text.len()).sum::<usize>() + TEMPLATE_TOKENS
    };
    let longest = conversations.iter().map(n_bytes).max().unwrap_or(0);
    let needed = (n_prompt + 1).max(longest + (n_gen + 1).max(N_ROWS));
    resolve::set_ctx(&mut resolved.plan, asked, needed)?;
    for context in resolved.plan.contexts_mut() {
        context.n_outputs_max = draft.n_step().max(N_ROWS);
        if *n_prompt >= context.n_ctx {
            let n_ctx = context.n_ctx;
            let text =
                format!("a prompt of {n_prompt} tokens does not fit into a context of {n_ctx}, with one to follow");
            return Err(BadUsage(text)).hint("a smaller -p, or more room with -c");
        }
    }
    Ok(())
}

/// The errors of other rooms as they are told everywhere, those of this one with the next step.
fn with_hint<T>(error: bench::Error) -> Result<T> {
    match error {
        bench::Error::Steer(error) => Err(error.into()),
        bench::Error::Text(failure) => Err(failure.into()),
        bench::Error::File(error) => Err(error.into()),
        bench::Error::Ended { .. } => Err(error).hint("leave the grammar out"),
        error => Err(BadUsage(error.to_string())).hint("a smaller -n, shorter prompts, or more room with -c"),
    }
}

fn print(report: &Report, output: BenchOutput) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match output {
        BenchOutput::Md => write!(out, "{}", shown(&markdown::report(report)))?,
        BenchOutput::Json => writeln!(out, "{}", serde_json::to_string_pretty(report)?)?,
        BenchOutput::Jsonl => {
            for row in &report.rows {
                writeln!(out, "{}", serde_json::to_string(row)?)?;
            }
            writeln!(out, "{}", json!({"derived": report.derived, "system": report.system}))?;
        }
        BenchOutput::Csv => write!(out, "{}", csv(&report.rows))?,
    }
    Ok(())
}

/// As llama-bench writes it: names, then values in quotes.
fn csv(rows: &[Measurement]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let names: Vec<_> = first.fields().into_iter().map(|(name, _)| name).collect();
    let quoted = |value: &Value| {
        let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("\"{}\"", plain.replace('"', "\"\""))
    };
    let values = |row: &Measurement| row.fields().iter().map(|(_, value)| quoted(value)).collect::<Vec<_>>().join(",");
    let lines: Vec<_> = std::iter::once(names.join(",")).chain(rows.iter().map(values)).collect();
    lines.join("\n") + "\n"
}
