//! `proxytune inspect`: what steering changes, token by token.
//!
//! A text that is generated is read once more, as one that is given is: all texts go the same way, on all lanes at once, and
//! the probabilities of the whole vocabulary are there at every token.

pub(super) mod conflicts;
mod found;
mod json;
mod page;
mod read;
mod terminal;

use std::io::Write;
use std::path::Path;

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};

use self::found::Found;
use self::page::Page;
use self::read::read;
use super::args::Inspect;
use super::new_file::{self, NewFile};
use super::report::{BadUsage, Hinted};
use super::resolve::{Job, Resolved};
use super::scoring::{self, Given};
use super::terminal::{has_colour, say, shown};
use super::text::escaped;
use super::{Done, answer, interrupt, progress, roles, there};
use crate::engine::Engine;
use crate::eval::texts::{Group, Texts};
use crate::generate::{Answer, Finish, Input, Request};
use crate::parameter::OutOfRange;
use crate::steer::{Ensemble, Plan};

pub fn run(args: &Inspect) -> Result<Done> {
    let files = [&args.html, &args.dump_targets].into_iter().flatten();
    if args.overwrite && files.clone().next().is_none() {
        return Err(BadUsage("--overwrite is given, and no file is written".to_owned()))
            .hint("name one with --html FNAME or --dump-targets FNAME");
    }
    if args.html.is_some() && args.html == args.dump_targets {
        return Err(BadUsage("--html and --dump-targets name one file".to_owned())).hint("give each a name of its own");
    }
    files.into_iter().try_for_each(|path| new_file::check(path, args.overwrite))?;
    match &args.run.prompt.file {
        Some(path) => of_file(args, path),
        None => of_prompt(args),
    }
}

/// Looks at what is generated behind a prompt, or at a text that is given in its place.
fn of_prompt(args: &Inspect) -> Result<Done> {
    let Job { mut resolved, prompt, prefix, is_example, request } = Job::new(&args.run)?;
    note_without_pairs(&resolved.plan);
    interrupt::listen();
    if is_example {
        say!("note: no prompt is given, continuing the recipe's: {prompt}");
    }
    let facts = resolved.plan.check()?;
    scoring::make_room_for_rows(&mut resolved.plan, &facts);
    let mut engine = resolved.load()?;
    let mut answer = Answer::starting_with(&prefix);
    let texts = if let (Some(text), Input::Conversation(conversation)) = (&args.text, &request.input) {
        let text = escaped(text, !args.run.prompt.no_escape);
        answer.text += &text;
        Texts::given(engine.ensemble(), conversation, &text)?
    } else {
        generate(args, &mut engine, &request, &mut answer)?;
        let prompts = request.prompts(engine.ensemble().loaded())?;
        Texts::answer(engine.ensemble(), prompts, answer.tokens.clone())?
    };
    check_text(&texts, engine.ensemble())?;
    let was_stopped = interrupt::stopped();
    // What there is of an answer that was broken off is shown; another ctrl-C breaks that off too.
    interrupt::clear();
    // Nothing else is on its contexts then.
    engine.forget();
    let plausibility = request.sampling.plausibility;
    let Some(found) = read(args, engine.ensemble_mut(), &texts, plausibility)? else { return Ok(Done::Interrupted) };
    // Before anything is printed: whoever reads that may have had enough of it.
    write_page(args, &found, &Page::of_answer(&prompt, &prefix))?;

    let mut out = std::io::stdout().lock();
    if args.run.json {
        let mut object = Map::new();
        object.insert("prompt".to_owned(), json!(prompt));
        object.insert("generated".to_owned(), json!(args.text.is_none()));
        object.insert("response".to_owned(), json!(answer.text));
        if args.text.is_none() {
            object.insert("finish_reason".to_owned(), json!(answer.finish.map(Finish::name)));
            object.insert("seed".to_owned(), json!(request.sampling.seed));
        }
        object.insert("weights".to_owned(), json!(found.weights));
        object.insert("aggregate".to_owned(), found.aggregate());
        object.insert("tokens".to_owned(), Value::Array(found.tokens()));
        writeln!(out, "{}", Value::Object(object))?;
    } else {
        let (bold, plain) = if has_colour() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        writeln!(out, "{bold}prompt{plain}  {}\n", shown(prompt.trim_end()))?;
        writeln!(out, "{bold}{}{plain}", if args.text.is_some() { "text" } else { "steered" })?;
        write!(out, "{}", shown(&prefix))?;
        found.print_text(&found.influences.tokens, &mut out)?;
        writeln!(out)?;
        found.print_summary(&mut out)?;
        found.print_strongest(args.rows, false, &mut out)?;
        found.print_moved(&mut out)?;
    }
    Ok(if was_stopped || interrupt::stopped() { Done::Interrupted } else { Done::Fine })
}

/// Looks at a text in windows, or at the answers of documents.
fn of_file(args: &Inspect, path: &Path) -> Result<Done> {
    let chunks = args.chunks.unwrap_or(-1);
    if chunks < -1 || chunks == 0 {
        return Err(OutOfRange::new("chunks", chunks, "1 or more, or -1 for all").into());
    }
    let models = &args.run.models;
    scoring::check_ctx(models.ctx_size)?;
    let recipe = roles::recipe(models, &args.run.alpha, true)?;
    let plausibility = args.run.sampling.over(&recipe.sampling, true)?.plausibility;
    there::check(&recipe)?;
    let given = Given::read(path)?;
    let mut resolved = Resolved::of(recipe, models)?;
    if given.is_text() && resolved.plan.weights().change() {
        return scoring::no_answer("give an α with --alpha N, or prompts and answers in a .jsonl file");
    }
    note_without_pairs(&resolved.plan);
    given.note_views(&resolved.recipe);
    interrupt::listen();
    given.make_room(&mut resolved, models.ctx_size)?;
    let mut ensemble = resolved.ensemble()?;
    let texts = given.texts(&ensemble, &resolved.recipe, path, usize::try_from(chunks).ok())?;
    let Some(found) = read(args, &mut ensemble, &texts, plausibility)? else { return Ok(Done::Interrupted) };
    let (influences, group) = (&found.influences, texts.group);
    write_page(args, &found, &Page::of_file(path, group))?;

    let (n_tokens, n_texts, n_all) = (influences.tokens.len(), influences.n_texts, influences.n_texts_all);
    let mut out = std::io::stdout().lock();
    if args.run.json {
        let (n_read, n_there) = match group {
            Group::Window => ("n_windows", "n_windows_all"),
            Group::Document => ("n_documents", "n_documents_all"),
        };
        let mut object = Map::new();
        object.insert(n_read.to_owned(), json!(n_texts));
        object.insert(n_there.to_owned(), json!(n_all));
        if group == Group::Document {
            object.insert("n_too_long".to_owned(), json!(texts.n_too_long));
        }
        object.insert("n_ctx".to_owned(), json!(found.n_ctx));
        object.insert("weights".to_owned(), json!(found.weights));
        object.insert("aggregate".to_owned(), found.aggregate());
        if args.tokens {
            object.insert("tokens".to_owned(), Value::Array(found.tokens()));
        }
        writeln!(out, "{}", Value::Object(object))?;
    } else {
        writeln!(out, "{}\n", scoring::counted(n_tokens, n_texts, n_all, group, found.n_ctx))?;
        found.print_summary(&mut out)?;
        found.print_strongest(args.rows, true, &mut out)?;
        found.print_moved(&mut out)?;
    }
    Ok(if interrupt::stopped() { Done::Interrupted } else { Done::Fine })
}

/// Generates an answer, with a bar for its tokens.
fn generate(args: &Inspect, engine: &mut Engine, request: &Request, answer: &mut Answer) -> Result<()> {
    let bar = request.n_predict.map_or_else(progress::spinner, progress::tokens);
    bar.set_message("generating");
    let read = answer::run(engine, request, interrupt::flag(), answer, |_, _| {
        bar.inc(1);
        Ok(())
    });
    bar.finish_and_clear();
    let read = read?;
    answer::note_what_is_amiss(answer);
    if !args.run.json && !args.run.perf.no_perf {
        answer::tell_perf(answer, read, request.sampling.seed);
    }
    Ok(())
}

fn write_page(args: &Inspect, found: &Found, page: &Page) -> Result<()> {
    let Some(path) = &args.html else { return Ok(()) };
    let new = NewFile::create(path, args.overwrite)?;
    let text = page.render(found)?;
    new.file().write_all(text.as_bytes()).map_err(|error| new.failed(&error))?;
    new.keep()
}

/// Refuses a text of nothing, and one that is too long.
fn check_text(texts: &Texts, ensemble: &Ensemble) -> Result<()> {
    if texts.n_too_long > 0 {
        let n_ctx = ensemble.n_ctx();
        return Err(anyhow!("prompt and text are longer than the context of {n_ctx} tokens"))
            .hint("give more room with -c");
    }
    if texts.is_empty() {
        return Err(anyhow!("there is no token to look at"))
            .hint("give a text with --text, or have more generated with -n");
    }
    Ok(())
}

fn note_without_pairs(plan: &Plan) {
    if plan.pairs.is_empty() {
        say!("note: no pair steers the base: what is shown as steered is the base");
    }
}
