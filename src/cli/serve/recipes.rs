//! Recipes as they are served, and what the engine is to load for them.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::cli::args::Serve;
use crate::cli::report::{BadUsage, Hinted};
use crate::cli::resolve::{self, Resolved};
use crate::cli::terminal::say;
use crate::cli::{deterministic, fit, probe, roles, there};
use crate::engine;
use crate::engine::process::{Planned, Setup};
use crate::recipe::view::TemplateName;
use crate::recipe::{ModelName, Recipe};
use crate::sampling::Sampling;
use crate::server::Served;
use crate::server::catalog::Defaults;
use crate::steer::{Facts, Plan, Texts};

/// Tokens of prompts that are scored in a step, if their rows take no more than this in every context.
const N_ROWS: usize = 64;
const ROWS_BYTES: usize = 32 << 20;

/// Every recipe that is named as a model of its own, and what the engine is to load for them.
pub fn of(args: &Serve, n_slots: usize) -> Result<(Vec<Served>, Setup)> {
    let names: Vec<Option<&str>> = match args.models.recipe.as_slice() {
        [] => vec![None],
        names => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    if names.len() > 1 && (!args.server.alias.is_empty() || args.models.names_models()) {
        return Err(BadUsage("several recipes are given beside models or an alias".to_owned()))
            .hint("models and --alias are for one recipe; each of several is listed by its own name");
    }
    let (mut plans, mut served) = (Vec::new(), Vec::<Served>::new());
    for name in names {
        let recipe = roles::recipe_named(&args.models, name, &args.alpha, true)?;
        there::check(&recipe)?;
        let (one, plan) = serve_one(args, recipe, name, n_slots, served.len())?;
        if served.iter().any(|other| other.name == one.name) {
            return Err(BadUsage(format!("two recipes are called {:?}", one.name)))
                .hint("a recipe is listed by the name of its file: rename one of them");
        }
        served.push(one);
        plans.push(plan);
    }
    // Guidance has contexts of its own, which are opened when the first request asks for it.
    let n = plans.len();
    for (i, one) in served.iter_mut().enumerate() {
        one.guided = n + i;
    }
    let guided: Vec<_> = plans.iter().map(Plan::guided).collect();
    let settings = engine::Settings {
        n_slots,
        n_queue: args.server.queue as usize,
        watchdog: Some(Duration::from_secs(args.server.watchdog)),
        ..engine::Settings::default()
    };
    let guided = guided.into_iter().map(|plan| Planned { plan, lazy: true });
    let plans = plans.into_iter().map(Planned::from).chain(guided).collect();
    let setup = Setup { plans, settings, rpc: args.models.rpc.clone(), verbose: args.models.verbose };
    Ok((served, setup))
}

/// A recipe as it is served, and its plan.
fn serve_one(
    args: &Serve,
    recipe: Recipe,
    name: Option<&str>,
    n_slots: usize,
    ensemble: usize,
) -> Result<(Served, Plan)> {
    let mut resolved = Resolved::of(recipe, &args.models)?;
    // As in llama-server, a model by itself is asked as it was tuned.
    if resolved.plan.pairs.is_empty() {
        resolved.plan.view.template.get_or_insert(TemplateName::Auto);
    }
    let draft = deterministic::drafts(&args.models, &args.draft, &resolved.plan)?;
    let sampling = args.sampling.over(&resolved.recipe.sampling, true)?;
    // A seed that was drawn here would be every request's.
    let sampling =
        Sampling { seed: args.sampling.seed.and(sampling.seed).or(resolved.recipe.sampling.seed), ..sampling };
    let facts = set_room(args, &mut resolved, n_slots)?;
    let n_rows = N_ROWS.min(ROWS_BYTES / (size_of::<f32>() * facts.n_vocab.max(1)));
    resolved.plan.contexts_mut().for_each(|context| context.n_outputs_max = draft.n_step().max(n_rows));
    let mut plan = resolved.plan.clone();
    // Several recipes share models, which one of them cannot place for all.
    let margin = args.models.fit.margin().filter(|_| args.models.recipe.len() <= 1);
    fit::apply_and_tell(&mut plan, margin, &resolved.backend, &args.models.rpc);
    note_plain_base(&plan, &facts);
    resolve::note_cancelled_base(&plan, &facts, &sampling);
    probe::admit(&plan, &facts, &args.models.rpc)?;
    let (n_predict, stop) = args.end.limits(true);
    let recipe = &resolved.recipe;
    let pairs = plan.pairs.iter().enumerate().map(|(i, pair)| pair.name_at(i)).collect();
    let has_expert = plan.pairs.first().and_then(|pair| pair.expert.as_ref()).is_some_and(|side| side.source.is_some());
    let system = args.server.system_prompt.clone().or_else(|| recipe.system_prompt.clone());
    let (name, aliases) = match args.server.alias.split_first() {
        Some((name, others)) => (name.clone(), others.to_vec()),
        None => (listed_as(recipe, name, args.models.names_models()), Vec::new()),
    };
    let served = Served {
        name,
        aliases,
        ensemble,
        guided: ensemble,
        pairs,
        has_expert,
        defaults: Defaults {
            sampling,
            n_predict,
            stop,
            draft,
            system: system.filter(|text| !text.is_empty()),
            example_prompt: recipe.example_prompt.clone(),
        },
    };
    Ok((served, plan))
}

/// How many tokens the texts have, and whether they share them.
fn set_room(args: &Serve, resolved: &mut Resolved, n_slots: usize) -> Result<Facts> {
    let server = &args.server;
    let shares = server.kv_unified || !server.no_kv_unified && server.parallel < 0;
    let shares = shares && !args.models.deterministic;
    // As in llama-server, --ctx-size is for all slots together, and a text that may have all of it has no more than its models
    // were trained on.
    let plan = &mut resolved.plan;
    let facts = plan.check()?;
    let trained = facts.n_ctx_train;
    let most = if resolve::is_stretched(plan) { usize::MAX } else { trained };
    let n_all = args.models.ctx_size.map(|n| n as usize).filter(|n| *n > 0);
    let n_text = match n_all {
        Some(n) if shares => n.min(most),
        Some(n) => (n / n_slots).max(1),
        None => resolve::n_ctx(args.models.ctx_size, resolve::DEFAULT_CTX, trained),
    };
    let n_full = n_all.map_or(n_slots, |n| (n / n_text).clamp(1, n_slots));
    plan.texts = if shares { Texts::sharing(n_slots, n_full) } else { Texts::apart(n_slots) };
    resolve::give_ctx(plan, &facts, n_text);
    Ok(facts)
}

/// The recipe's name, or the base's where that is named by itself.
fn listed_as(recipe: &Recipe, name: Option<&str>, names_models: bool) -> String {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match (name, &recipe.base.model) {
        (Some(name), _) => stem(Path::new(name)),
        (None, _) if !names_models => roles::DEMO.to_owned(),
        (None, ModelName::File(path)) => stem(path),
        (None, other) => other.to_string(),
    }
}

/// In a chat a base that has a template of its own reads plain text all the same, unless somebody says otherwise.
fn note_plain_base(plan: &Plan, facts: &Facts) {
    if !plan.pairs.is_empty() && plan.view.template.is_none() && facts.base_has_template {
        say!(
            "note: in a chat the base reads plain text, as in the paper; --base-template model gives it its own template"
        );
    }
}
