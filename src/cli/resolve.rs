//! Args and recipe → what is meant: a plan, a request, a conversation.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Result;

use super::alpha::Alpha;
use super::args::{self, Prompt};
use super::models::Models;
use super::report::{BadUsage, Hinted};
use super::terminal::say;
use super::text::{escaped, read_text, without_last_newline};
use super::{deterministic, download, draft, fit, probe, progress, roles, there};
use crate::engine::Engine;
use crate::generate::Request;
use crate::inspect::{CANCELLED_BASE, CANCELLED_BASE_HINT};
use crate::llama::backend::{self, Backend};
use crate::llama::context::ContextParams;
use crate::llama::model::ModelParams;
use crate::llama::rpc;
use crate::prompt::{Conversation, Message, Speaker};
use crate::recipe::Recipe;
use crate::recipe::rope::Rope;
use crate::sampling::Sampling;
use crate::steer::models::Models as Loaded;
use crate::steer::{self, Ensemble, Facts, ModelSource, Plan};

/// Context when none is asked for: enough for a chat, small enough for three KV caches.
pub const DEFAULT_CTX: usize = 4096;

/// What a command that writes text is to do.
pub struct Job {
    pub resolved: Resolved,
    /// What was asked, and what it stands in.
    pub prompt: String,
    /// What the answer begins with.
    pub prefix: String,
    /// Nobody gave a prompt: it is the recipe's.
    pub is_example: bool,
    pub request: Request,
}

impl Job {
    pub fn new(args: &args::Run) -> Result<Self> {
        let escape = !args.prompt.no_escape;
        let recipe = roles::recipe(&args.models, &args.alpha, escape)?;
        there::check(&recipe)?;
        // Before a download listens to ctrl-C: while the prompt is read, that just ends the program.
        let given = prompt(&args.prompt)?;
        let mut resolved = Resolved::of(recipe, &args.models)?;
        let is_example = given.is_none();
        let example = || BadUsage("there is no prompt".to_owned());
        let prompt = given.or_else(|| resolved.recipe.example_prompt.clone()).ok_or_else(example);
        let prompt = prompt.hint("give one with -p TEXT or -f FILE, or pipe it in")?;
        let mut conversation = conversation(&args.prompt.conversation, &resolved.recipe, escape)?;
        conversation.messages.push(Message::new(Speaker::User, prompt.as_str()));
        conversation.parse_special = !args.prompt.no_parse_special;
        let (n_predict, stop) = args.prompt.end.limits(escape);
        let sampling = args.sampling.over(&resolved.recipe.sampling, escape)?;
        let prefix = conversation.prefix.clone();
        let draft = deterministic::drafts(&args.models, &args.draft, &resolved.plan)?;
        let request = Request { sampling, n_predict, stop, draft, ..Request::of(conversation) };
        let facts = set_ctx(&mut resolved.plan, args.models.ctx_size, DEFAULT_CTX)?;
        note_cancelled_base(&resolved.plan, &facts, &request.sampling);
        draft::make_room(&mut resolved.plan, &request.draft);
        Ok(Self { resolved, prompt, prefix, is_example, request })
    }
}

/// What stands before the first message: the system prompt, and what every answer starts with.
pub fn conversation(args: &args::Conversation, recipe: &Recipe, escape: bool) -> Result<Conversation> {
    let system = match (&args.system_prompt, &args.system_prompt_file) {
        (Some(text), _) => Some(escaped(text, escape)),
        (None, Some(path)) => Some(without_last_newline(read_text(path)?)),
        (None, None) => recipe.system_prompt.clone(),
    };
    let prefix = args.response_prefix.as_ref().map(|text| escaped(text, escape)).unwrap_or_default();
    let messages =
        system.filter(|text| !text.is_empty()).map(|text| Message::new(Speaker::System, text)).into_iter().collect();
    Ok(Conversation { messages, prefix, ..Conversation::default() })
}

/// A plan with everything that is needed to run it.
pub struct Resolved {
    pub recipe: Recipe,
    pub plan: Plan,
    pub backend: Backend,
    pub models: Loaded,
    rpc: Vec<String>,
    /// What `--fit` leaves free on devices, in bytes.
    fit: Option<u64>,
}

impl Resolved {
    /// What the models flags mean; what they name on a hub is downloaded. `escape`: texts of the
    /// flags are unescaped.
    pub fn new(args: &Models, alpha: &Alpha, escape: bool) -> Result<Self> {
        Self::of(roles::recipe(args, alpha, escape)?, args)
    }

    /// A recipe with everything that it needs at hand.
    pub fn of(mut recipe: Recipe, args: &Models) -> Result<Self> {
        if args.threads_batch.is_some_and(|n| Some(n) != args.threads && n > 0) {
            let text = "--threads-batch is not --threads, and every model has one number of threads";
            return Err(BadUsage(text.to_owned())).hint("leave -tb out: -t is for prompts and tokens alike");
        }
        download::models(&mut recipe, &args.hub)?;
        let backend = backend::shared()?;
        rpc::add_servers(&backend, &args.rpc)?;
        let mut plan = Plan::of_recipe(&recipe, &defaults(args), &backend)?;
        plan.allow_drift = args.allow_vocab_drift;
        let (models, rpc, fit) = (Loaded::default(), args.rpc.clone(), args.fit.margin());
        Ok(Self { recipe, plan, backend, models, rpc, fit })
    }

    /// Loads what the plan needs, and opens its contexts.
    pub fn ensemble(&mut self) -> Result<Ensemble> {
        Ok(self.files()?.open()?)
    }

    /// Loads what the plan needs, with a bar for each file on a terminal. What `--fit` chooses stands in the plan from then on.
    pub fn files(&mut self) -> Result<steer::Loaded> {
        let facts = self.plan.check()?;
        fit::apply_and_tell(&mut self.plan, self.fit, &self.backend, &self.rpc);
        let plan = &self.plan;
        probe::admit(plan, &facts, &self.rpc)?;
        note_idle_pairs(plan);
        let mut bars = progress::Loading::default();
        let mut report = |role, path: &Path, share| {
            bars.report(role, path, share);
            !super::interrupt::stopped()
        };
        Ok(steer::Loaded::of(&self.backend, plan, &facts, &mut self.models, &mut report)?)
    }

    /// The same, for a text at a time.
    pub fn load(&mut self) -> Result<Engine> {
        Ok(Engine::inline(self.ensemble()?))
    }
}

/// How every model is loaded and computes, as far as its role does not say otherwise.
fn defaults(args: &Models) -> ModelSource {
    let defaults = ContextParams::default();
    ModelSource {
        model: ModelParams {
            split_mode: args.split_mode.into(),
            main_gpu: args.main_gpu,
            tensor_split: args.tensor_split.clone(),
            load_mode: args.load_mode(),
            kernels: args.kernels.into(),
            repack: !args.no_repack,
            check_tensors: args.check_tensors,
            overrides: args.overrides(),
            ..ModelParams::default()
        },
        context: ContextParams {
            n_ctx: 0,
            n_batch: args.batch_size.min(args.ubatch_size) as usize,
            // As in llama.cpp, no thread or a negative number of them asks for the default.
            n_threads: args
                .threads
                .and_then(|n| usize::try_from(n).ok())
                .filter(|&n| n > 0)
                .unwrap_or(defaults.n_threads),
            flash_attention: args.flash_attention(),
            offload_kqv: !args.no_kv_offload,
            ..defaults
        },
        ..ModelSource::new("")
    }
}

/// Gives every lane of a plan the same context: what was asked for, else `unless_asked`, as far as every model was
/// trained; 0 asks for what they were trained on. Answers what the files say.
pub fn set_ctx(plan: &mut Plan, asked: Option<u32>, unless_asked: usize) -> Result<Facts> {
    let facts = plan.check()?;
    give_ctx(plan, &facts, n_ctx(asked, unless_asked, facts.n_ctx_train));
    Ok(facts)
}

/// Whether a plan asks for longer texts than its models were trained on.
pub fn is_stretched(plan: &mut Plan) -> bool {
    plan.contexts_mut().any(|context| context.rope != Rope::default())
}

/// Gives every lane of a plan so many tokens, and tells what is to be known of that and of its files.
pub fn give_ctx(plan: &mut Plan, facts: &Facts, n_ctx: usize) {
    let trained = facts.n_ctx_train;
    if n_ctx > trained && !is_stretched(plan) {
        say!("note: a context of {n_ctx} tokens is longer than the {trained} that every model was trained on");
    }
    for left_out in &facts.left_out {
        say!("note: {}: {left_out}", left_out.role);
    }
    plan.contexts_mut().for_each(|context| context.n_ctx = n_ctx);
}

/// Tells where the base is computed for nothing. A plausibility cut asks it all the same.
pub fn note_cancelled_base(plan: &Plan, facts: &Facts, sampling: &Sampling) {
    if sampling.plausibility == 0.0 && plan.cancels_base(facts) {
        say!("note: {CANCELLED_BASE}; {CANCELLED_BASE_HINT}");
    }
}

/// Tells where a pair's sides are one model under one view.
fn note_idle_pairs(plan: &Plan) {
    for pair in &plan.pairs {
        let [a, b] = pair.weights();
        if pair.expert.is_some() && pair.expert == pair.antiexpert && a == b {
            say!(
                "note: expert and antiexpert are one file under one prompt: this pair changes nothing; the antiexpert is the \
                 expert before its tuning"
            );
        }
    }
}

/// What was asked for, else `unless_asked` as far as every model was trained; 0 asks for what they were trained on.
pub fn n_ctx(asked: Option<u32>, unless_asked: usize, trained: usize) -> usize {
    match asked {
        None => trained.min(unless_asked),
        Some(0) => trained,
        Some(n) => n as usize,
    }
}

/// The prompt: typed, from a file or piped in.
fn prompt(args: &Prompt) -> Result<Option<String>> {
    match (&args.prompt, &args.file) {
        (Some(text), _) => Ok(Some(escaped(text, !args.no_escape))),
        (None, Some(path)) => read_text(path).map(without_last_newline).map(Some),
        (None, None) if std::io::stdin().is_terminal() => Ok(None),
        (None, None) => {
            let text = read_text(Path::new("-")).map(without_last_newline)?;
            Ok(Some(text).filter(|text| !text.is_empty()))
        }
    }
}
