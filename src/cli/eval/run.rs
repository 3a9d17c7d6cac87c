//! One task, asked of all contenders.

use std::path::Path;
use std::time::Instant;

use anyhow::{Error, Result};
use indicatif::ProgressBar;

use super::args::Eval;
use super::outcome::Outcome;
use super::{completions, contenders};
use crate::cli::report::{BadUsage, Hinted};
use crate::cli::resolve::{self, Resolved};
use crate::cli::scoring::make_room_for_rows;
use crate::cli::terminal::say;
use crate::cli::text::read_text;
use crate::cli::{interrupt, progress};
use crate::engine::{Engine, Settings};
use crate::eval::contender::{Contender, Kind};
use crate::eval::item::Item;
use crate::eval::questions::{Questions, RunError};
use crate::eval::results::Results;
use crate::eval::scored::{self, Open};
use crate::eval::task::Task;
use crate::eval::{fingerprint, items, runner, standing};
use crate::plain::plain;
use crate::recipe::Recipe;
use crate::sampling::Sampling;
use crate::steer::{Ensemble, Facts, Loaded, Texts};

/// The seed of sampling where a recipe has none: every run draws alike.
const SEED: u32 = 1;
/// What a chat template may put around a prompt.
const TEMPLATE_TOKENS: usize = 128;
/// Items that are answered at the same time, unless asked otherwise: their answers are written, or read.
const N_WRITTEN: usize = 4;
const N_READ: usize = 16;

/// A task with its items and those who answer them. All that can be refused before models are loaded was not.
pub struct Asked {
    task: Task,
    items: Vec<Item>,
    sampling: Sampling,
    resolved: Resolved,
    contenders: Vec<Contender>,
    /// Loaded behind the others, whose weights need the room.
    tuned: Option<(Contender, Resolved)>,
    results: Results,
}

impl Asked {
    pub fn of(
        args: &Eval,
        task: Task,
        data: &Path,
        results: Option<&Path>,
        recipe: &Recipe,
        tuned: Option<&(Contender, Recipe)>,
    ) -> Result<Self> {
        let text = read_text(data)?;
        let items = items::read(&task, &text, &data.display().to_string(), args.limit.map(|limit| limit as usize))?;
        let resolved = Resolved::of(recipe.clone(), &args.models)?;
        resolved.plan.check()?;
        let sampling = sampling(args, &task, &resolved.recipe.sampling);
        let contenders = contenders::of(args, &resolved.plan)?;
        let system = resolved.recipe.system_prompt.as_deref();
        let header = fingerprint::of(&task, &text, &resolved.plan, system, &sampling)?;
        let mut results = results.map(|path| Results::open(path, &header)).transpose()?.unwrap_or_default();
        let tuned = tuned
            .map(|(contender, recipe)| -> Result<_> {
                let resolved = Resolved::of(recipe.clone(), &args.models)?;
                resolved.plan.check()?;
                results.identify(&contender.name, &fingerprint::of_base(&resolved.plan)?)?;
                Ok((contender.clone(), resolved))
            })
            .transpose()?;
        Ok(Self { task, items, sampling, resolved, contenders, tuned, results })
    }

    /// What came of it, and whether it came to its end.
    pub fn run(self, args: &Eval) -> (Outcome, Result<()>) {
        let Self { task, items, sampling, resolved, mut contenders, tuned, results } = self;
        let system = resolved.recipe.system_prompt.clone();
        let questions = Questions { task: &task, items: &items, system: system.as_deref(), sampling: &sampling };
        let all: Vec<_> = contenders.iter().chain(tuned.iter().map(|(contender, _)| contender)).cloned().collect();
        let mut run = Run::new(args, questions, results, &all);
        let mut ended = run.answer(resolved, &contenders);
        if let Some((contender, resolved)) = tuned {
            if ended.is_ok() && !interrupt::stopped() {
                ended = run.answer(resolved, std::slice::from_ref(&contender));
            }
            contenders.push(contender);
        }
        let Run { bar, results, .. } = run;
        bar.finish_and_clear();
        if let Some(folder) = &args.completions {
            ended = ended.and(completions::write(folder, &items, &contenders, &results));
        }
        let rows = standing::of(&task, &contenders, &results, items.len());
        let n_items = items.len();
        (Outcome { task, n_items, sampling, rows }, ended)
    }
}

/// Greedy, with the plausibility cut that is part of steering; or all that the recipe says. Nothing is sampled of answers
/// that are given.
fn sampling(args: &Eval, task: &Task, recipe: &Sampling) -> Sampling {
    if task.n_written().is_none() {
        Sampling::greedy()
    } else if args.recipe_sampling {
        Sampling { seed: recipe.seed.or(Some(SEED)), ..recipe.clone() }
    } else {
        Sampling { plausibility: recipe.plausibility, ..Sampling::greedy() }
    }
}

/// A run over all contenders.
struct Run<'a> {
    args: &'a Eval,
    questions: Questions<'a>,
    results: Results,
    bar: ProgressBar,
}

impl<'a> Run<'a> {
    fn new(args: &'a Eval, questions: Questions<'a>, results: Results, contenders: &[Contender]) -> Self {
        let n_items = questions.items.len();
        let n_done: usize = contenders.iter().map(|contender| results.of(&contender.name, n_items).count()).sum();
        if n_done > 0 {
            say!("note: {n_done} of {} answers are there already", n_items * contenders.len());
        }
        Self { args, questions, results, bar: progress::items(n_items * contenders.len(), n_done) }
    }

    /// Loads what contenders need, if any of them has something left to answer.
    fn answer(&mut self, mut resolved: Resolved, contenders: &[Contender]) -> Result<()> {
        let n_items = self.questions.items.len();
        let is_done = |contender: &&Contender| self.results.of(&contender.name, n_items).count() == n_items;
        let left: Vec<_> = contenders.iter().filter(|contender| !is_done(contender)).cloned().collect();
        match self.questions.task.n_written() {
            _ if left.is_empty() => Ok(()),
            Some(n_written) => self.write(&mut resolved, &left, n_written),
            None => self.read(&mut resolved, &left),
        }
    }

    /// Contenders write their answers, one after the other.
    fn write(&mut self, resolved: &mut Resolved, contenders: &[Contender], n_written: usize) -> Result<()> {
        let mut engine = self.engine(resolved, contenders, n_written)?;
        for contender in contenders {
            let (began, n_before) = (Instant::now(), self.bar.position());
            let bar = &self.bar;
            let name = plain(&contender.name);
            bar.set_message(name.clone());
            runner::run(&mut engine, contender, &self.questions, &mut self.results, interrupt::flag(), &mut |pace| {
                let per_second = pace.n_tokens as f64 / began.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
                bar.set_message(format!("{name}, {per_second:.0} tokens/s"));
                bar.set_position(n_before + pace.n_items as u64);
            })
            .map_err(raised)?;
        }
        Ok(())
    }

    /// The answers are read once for all contenders.
    fn read(&mut self, resolved: &mut Resolved, contenders: &[Contender]) -> Result<()> {
        if contenders.iter().all(|contender| contender.kind == Kind::Base) {
            resolved.plan.pairs.clear();
        }
        if resolved.recipe.sampling.plausibility > 0.0 {
            say!("note: the plausibility cut is left out: it gives some answers no probability at all");
        }
        resolved.plan.texts = Texts::apart(self.n_at_once(N_READ));
        let facts = resolved.plan.check()?;
        make_room_for_rows(&mut resolved.plan, &facts);
        let loaded = self.load(resolved, &facts, 0)?;
        let open = Open::new(&loaded, &self.questions, contenders, &self.results)?;
        if open.n_without > 0 {
            say!("note: {} of the items left have no token that something predicts", open.n_without);
        }
        if open.is_empty() {
            return Ok(());
        }
        let mut ensemble = self.open(resolved, &facts, loaded, open.longest(), 0)?;
        let (bar, n_before) = (&self.bar, self.bar.position());
        scored::run(
            &mut ensemble,
            &open,
            contenders,
            &self.questions,
            &mut self.results,
            interrupt::flag(),
            &mut |pace| {
                bar.set_position(n_before + pace.n_items as u64);
            },
        )
        .map_err(raised)
    }

    /// An engine with room for the longest prompt and an answer to it, in every slot.
    fn engine(&self, resolved: &mut Resolved, contenders: &[Contender], n_written: usize) -> Result<Engine> {
        let n_slots = self.n_at_once(N_WRITTEN);
        resolved.plan.texts = Texts::apart(n_slots);
        let facts = resolved.plan.check()?;
        let loaded = self.load(resolved, &facts, n_written)?;
        let mut n_prompt = 0;
        for contender in contenders {
            for item in self.questions.items {
                let prompts = loaded.prompts(contender.sampled, &self.questions.conversation(item), &[])?;
                n_prompt = n_prompt.max(prompts.longest());
            }
        }
        let ensemble = self.open(resolved, &facts, loaded, n_prompt, n_written)?;
        // Nobody watches the texts: prompts are read in whole batches.
        let settings = Settings { n_slots, n_queue: 0, n_chunk: usize::MAX, ..Settings::default() };
        Ok(Engine::new(ensemble, settings))
    }

    fn n_at_once(&self, unless_asked: usize) -> usize {
        self.args.parallel.map_or(unless_asked, |n| n as usize).min(self.questions.items.len())
    }

    /// The models, for contexts that have room for any item: how long items are is known once there is a vocabulary.
    fn load(&self, resolved: &mut Resolved, facts: &Facts, n_written: usize) -> Result<Loaded> {
        // A token is a byte at least, as good as always.
        let n_bytes = self.questions.items.iter().map(Item::n_bytes).max().unwrap_or(0);
        let n_at_most = (n_bytes + TEMPLATE_TOKENS + n_written).min(facts.n_ctx_train.max(1));
        resolved.plan.contexts_mut().for_each(|context| context.n_ctx = n_at_most);
        resolved.files()
    }

    /// The contexts, with room for the longest prompt, or item, and what is written behind it.
    fn open(
        &self,
        resolved: &mut Resolved,
        facts: &Facts,
        loaded: Loaded,
        n_longest: usize,
        n_written: usize,
    ) -> Result<Ensemble> {
        let needed = n_longest + n_written;
        let n_ctx = resolve::n_ctx(self.args.models.ctx_size.or(Some(needed as u32)), needed, facts.n_ctx_train);
        if n_ctx < needed {
            let text = if n_written > 0 {
                format!("the longest prompt has {n_longest}, and an answer up to {n_written}")
            } else {
                format!("the longest item has {n_longest}")
            };
            let text = format!("a context of {n_ctx} tokens is too small: {text}");
            return Err(BadUsage(text)).hint("leave -c out, or give it more");
        }
        resolve::give_ctx(&mut resolved.plan, facts, n_ctx);
        Ok(loaded.with_n_ctx(n_ctx).open()?)
    }
}

/// An error of the models by itself, so that its hint is found.
fn raised(error: RunError) -> Error {
    match error {
        RunError::Steer(error) => error.into(),
        error => error.into(),
    }
}
