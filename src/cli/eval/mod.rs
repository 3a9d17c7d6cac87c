//! `proxytune eval`

mod args;
mod contenders;
mod table;

use std::time::Instant;

use anyhow::Result;
use indicatif::ProgressBar;

pub use self::args::Eval;
use super::report::{BadUsage, Hinted};
use super::resolve::{self, Resolved};
use super::terminal::say;
use super::text::read_text;
use super::{Done, interrupt, progress, roles, there};
use crate::engine::{Engine, Settings};
use crate::eval::results::Results;
use crate::eval::runner::{self, Contender, Questions};
use crate::eval::task::Task;
use crate::eval::{fingerprint, items, standing};
use crate::plain::plain;
use crate::recipe::Recipe;
use crate::sampling::Sampling;
use crate::steer::Texts;

/// The seed of sampling where a recipe has none: every run draws alike.
const SEED: u32 = 1;
/// What a chat template may put around a prompt.
const TEMPLATE_TOKENS: usize = 128;

pub fn run(args: &Eval) -> Result<Done> {
    let task = Task::open(&args.task)?;
    let recipe = roles::recipe(&args.models, &args.parts.clone().into(), true)?;
    there::check(&recipe)?;
    let tuned = contenders::tuned(args, &recipe);
    tuned.iter().try_for_each(|(_, recipe)| there::check(recipe))?;
    let data = read_text(&args.data)?;
    let items = items::read(&task, &data, &args.data.display().to_string(), args.limit.map(|limit| limit as usize))?;
    interrupt::listen();
    let resolved = Resolved::of(recipe, &args.models)?;
    let sampling = sampling(args, &resolved.recipe.sampling);
    let system = resolved.recipe.system_prompt.clone();
    let questions = Questions { task: &task, items: &items, system: system.as_deref(), sampling: &sampling };
    let mut contenders = contenders::of(args, &resolved.plan)?;
    let header = fingerprint::of(&task, &data, &resolved.plan, questions.system, &sampling)?;
    let results = args.results.as_deref().map(|path| Results::open(path, &header)).transpose()?;
    let all: Vec<_> = contenders.iter().chain(tuned.iter().map(|(contender, _)| contender)).cloned().collect();

    let mut run = Run::new(args, questions, results.unwrap_or_default(), &all);
    let ended = run.trio_and_tuned(resolved, &contenders, tuned.as_ref());
    let Run { bar, results, .. } = run;
    bar.finish_and_clear();
    contenders.extend(tuned.map(|(contender, _)| contender));
    // An error or ctrl-C loses no answer: the table has those that there are.
    let rows = standing::of(&task, &contenders, &results, items.len());
    if !rows.is_empty() {
        if interrupt::stopped() {
            say!("note: stopped; this is what was answered until then");
        }
        table::print(args, &task, &sampling, items.len(), &rows)?;
    }
    ended?;
    Ok(if interrupt::stopped() { Done::Interrupted } else { Done::Fine })
}

/// Greedy, with the plausibility cut that is part of steering; or all that the recipe says.
fn sampling(args: &Eval, recipe: &Sampling) -> Sampling {
    if args.recipe_sampling {
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

    /// The models of the recipe, and then the tuned one, whose weights need the room of the others'.
    fn trio_and_tuned(
        &mut self,
        resolved: Resolved,
        contenders: &[Contender],
        tuned: Option<&(Contender, Recipe)>,
    ) -> Result<()> {
        self.answer(resolved, contenders)?;
        match tuned {
            Some((contender, recipe)) if !interrupt::stopped() => {
                self.answer(Resolved::of(recipe.clone(), &self.args.models)?, std::slice::from_ref(contender))
            }
            _ => Ok(()),
        }
    }

    /// Loads what contenders need, if any of them has something left to answer, and asks them one after the other.
    fn answer(&mut self, mut resolved: Resolved, contenders: &[Contender]) -> Result<()> {
        let n_items = self.questions.items.len();
        let is_done = |contender: &&Contender| self.results.of(&contender.name, n_items).count() == n_items;
        let left: Vec<_> = contenders.iter().filter(|contender| !is_done(contender)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let mut engine = self.engine(&mut resolved, &left)?;
        for contender in left {
            let (began, n_before) = (Instant::now(), self.bar.position());
            let bar = &self.bar;
            let name = plain(&contender.name);
            bar.set_message(name.clone());
            runner::run(&mut engine, contender, &self.questions, &mut self.results, interrupt::flag(), &mut |pace| {
                let per_second = pace.n_tokens as f64 / began.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
                bar.set_message(format!("{name}, {per_second:.0} tokens/s"));
                bar.set_position(n_before + pace.n_items as u64);
            })?;
        }
        Ok(())
    }

    /// An engine with room for the longest prompt and an answer to it, in every slot.
    fn engine(&self, resolved: &mut Resolved, contenders: &[&Contender]) -> Result<Engine> {
        let Self { args, questions, .. } = self;
        let n_answer = questions.task.spec.max_tokens;
        let n_slots = (args.parallel as usize).min(questions.items.len());
        resolved.plan.texts = Texts::apart(n_slots);
        let facts = resolved.plan.check()?;
        // A token is a byte at least, as good as always.
        let n_bytes = questions.items.iter().map(|item| item.prompt.len()).max().unwrap_or(0);
        let n_at_most = (n_bytes + TEMPLATE_TOKENS + n_answer).min(facts.n_ctx_train.max(1));
        resolved.plan.contexts_mut().for_each(|context| context.n_ctx = n_at_most);
        let loaded = resolved.files()?;
        let mut n_prompt = 0;
        for contender in contenders {
            for item in questions.items {
                let prompts = loaded.prompts(contender.sampled, &questions.conversation(item), &[])?;
                n_prompt = n_prompt.max(prompts.longest());
            }
        }
        let needed = n_prompt + n_answer;
        let n_ctx = resolve::n_ctx(args.models.ctx_size.or(Some(needed as u32)), needed, facts.n_ctx_train);
        if n_ctx < needed {
            let text = format!(
                "a context of {n_ctx} tokens is too small: the longest prompt has {n_prompt}, and an answer up to {n_answer}"
            );
            return Err(BadUsage(text)).hint("leave -c out, or give it more");
        }
        resolve::give_ctx(&mut resolved.plan, &facts, n_ctx);
        let ensemble = loaded.with_n_ctx(n_ctx).open()?;
        // Nobody watches the texts: prompts are read in whole batches.
        let settings = Settings { n_slots, n_queue: 0, n_chunk: usize::MAX, ..Settings::default() };
        Ok(Engine::new(ensemble, settings))
    }
}
