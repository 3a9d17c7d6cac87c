//! `proxytune serve`: recipes behind HTTP.

mod args;
mod files;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use self::args::ServerArgs;
use super::args::Serve;
use super::report::{BadUsage, Hinted};
use super::resolve::{self, Resolved};
use super::terminal::say;
use super::text::read_text;
use super::{Done, deterministic, probe, progress, roles, there};
use crate::engine::process::{Child, Planned, Setup};
use crate::engine::{self, Handle, State};
use crate::recipe::view::TemplateName;
use crate::recipe::{ModelName, Recipe};
use crate::sampling::Sampling;
use crate::server::catalog::Defaults;
use crate::server::{self, App, Catalog, Hosts, Origins, Served, Settings};
use crate::steer::{Facts, Plan, Texts};

/// Texts at the same time, where nobody says.
const N_PARALLEL: usize = 4;
/// Tokens of prompts that are scored in a step, if their rows take no more than this in every context.
const N_ROWS: usize = 64;
const ROWS_BYTES: usize = 32 << 20;

pub fn run(args: &Serve) -> Result<Done> {
    let settings = settings(&args.server)?;
    let (served, setup) = recipes(args, settings.n_slots)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(listen(args, settings, Catalog::new(served), setup));
    // What still runs beside is not waited for.
    runtime.shutdown_background();
    result
}

fn settings(args: &ServerArgs) -> Result<Settings> {
    let mut api_keys = args.api_key.clone();
    if let Some(path) = &args.api_key_file {
        // As in llama-server, a line that begins with a hash is a comment.
        let text = read_text(path)?;
        api_keys.extend(text.lines().map(str::trim).filter(|line| !line.starts_with('#')).map(str::to_owned));
    }
    let is_asked = !api_keys.is_empty();
    api_keys.retain(|key| !key.is_empty());
    if is_asked && api_keys.is_empty() {
        return Err(BadUsage("API keys are asked for, and none is given".to_owned()))
            .hint("give one with --api-key KEY");
    }
    let prefix = args.api_prefix.trim_end_matches('/');
    if !(prefix.is_empty() || prefix.starts_with('/')) {
        return Err(BadUsage(format!("--api-prefix is {prefix:?}"))).hint("it begins with a slash, as in /api");
    }
    Ok(Settings {
        n_slots: usize::try_from(args.parallel).ok().filter(|n| *n > 0).unwrap_or(N_PARALLEL),
        api_keys,
        prefix: prefix.to_owned(),
        origins: origins(args)?,
        max_connections: files::n_connections().min(args.max_connections as usize),
        drain: Duration::from_secs(args.drain),
        metrics: args.metrics,
        slots: !args.no_slots,
        spm_infill: args.spm_infill,
        read_timeout: Duration::from_secs(args.timeout),
        sse_ping: u64::try_from(args.sse_ping_interval).ok().filter(|n| *n > 0).map(Duration::from_secs),
        ..Settings::default()
    })
}

fn origins(args: &ServerArgs) -> Result<Origins> {
    Origins::of(&args.cors_origins).map_err(|origin| BadUsage(format!("--cors-origins is {origin:?}"))).hint(
        "an origin is written as https://site.example or http://localhost:3000, with nothing behind it; * is every one",
    )
}

/// Who is reached from this machine alone is asked by names of this machine alone, unless told otherwise: a site can make its
/// name one for 127.0.0.1, and its pages would be this server's.
fn hosts(address: SocketAddr, args: &ServerArgs) -> Hosts {
    let is_any = args.allowed_hosts.iter().any(|name| name == "*");
    if is_any || args.allowed_hosts.is_empty() && !address.ip().is_loopback() {
        return Hosts::Any;
    }
    let names = std::iter::once(&args.host).chain(&args.allowed_hosts);
    Hosts::Loopback(names.map(|name| name.to_ascii_lowercase()).collect())
}

/// Every recipe that is named as a model of its own, and what the engine is to load for them.
fn recipes(args: &Serve, n_slots: usize) -> Result<(Vec<Served>, Setup)> {
    let names: Vec<Option<&str>> = match args.models.recipe.as_slice() {
        [] => vec![None],
        names => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    if names.len() > 1 && (!args.server.alias.is_empty() || args.models.names_models()) {
        return Err(BadUsage("several recipes are given beside models or an alias".to_owned()))
            .hint("models and --alias are for one recipe; each of several is listed by its own name");
    }
    let alphas = args.alpha.schedules()?;
    let (mut plans, mut served) = (Vec::new(), Vec::<Served>::new());
    for name in names {
        let recipe = roles::recipe_named(&args.models, name, &alphas, true)?;
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
        n_queue: args.server.queue,
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
    let plan = resolved.plan.clone();
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
        description: recipe.description.clone(),
        ensemble,
        guided: ensemble,
        pairs,
        has_expert,
        defaults: Defaults { sampling, n_predict, stop, draft, system: system.filter(|text| !text.is_empty()) },
    };
    Ok((served, plan))
}

/// How many tokens the texts have, and whether they share them.
fn set_room(args: &Serve, resolved: &mut Resolved, n_slots: usize) -> Result<Facts> {
    let server = &args.server;
    let shares = server.kv_unified || !server.no_kv_unified && server.parallel < 0;
    let shares = shares && !args.models.deterministic;
    // As in llama-server, --ctx-size is for all slots together.
    let asked = args.models.ctx_size.map(|n| if shares || n == 0 { n } else { (n / n_slots as u32).max(1) });
    let facts = resolve::set_ctx(&mut resolved.plan, asked, resolve::DEFAULT_CTX)?;
    resolved.plan.texts = match (shares, args.models.ctx_size) {
        (true, Some(n)) if n > 0 => Texts::sharing(n_slots, 1),
        (true, _) => Texts::sharing(n_slots, n_slots),
        (false, _) => Texts::apart(n_slots),
    };
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

async fn listen(args: &Serve, mut settings: Settings, catalog: Catalog, setup: Setup) -> Result<Done> {
    let ServerArgs { host, port, .. } = &args.server;
    let address = (host.as_str(), *port);
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {host}:{port}"));
    let listener = listener.hint("another program may have the port: --port N takes another, --port 0 a free one")?;
    let address = listener.local_addr()?;
    settings.hosts = hosts(address, &args.server);
    warn_if_open(address, &settings);
    let mut signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    let engine = Handle::supervise(Child::proxytune(std::env::current_exe()?), setup)?;
    let ids: Vec<_> = catalog.models().map(server::catalog::Model::id).collect();
    let app = Arc::new(App::new(engine.clone(), catalog, settings));
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server::serve(listener, app.clone(), async {
        let _ = ended.await;
    }));
    say!("listening on http://{address}");
    let is_loaded = tokio::select! {
        loaded = loaded(&engine, &ids) => loaded?,
        () = asked_to_end(&mut signals) => false,
    };
    if is_loaded {
        asked_to_end(&mut signals).await;
    }
    say!("ending: answers that are being written go on; ctrl-C again ends them");
    let _ = end.send(());
    let done = tokio::select! {
        _ = serving => Done::Fine,
        () = asked_to_end(&mut signals) => Done::Interrupted,
    };
    engine.kill();
    Ok(done)
}

/// Waits for ctrl-C, or for the signal of service managers.
async fn asked_to_end([interrupt, terminate]: &mut [Signal; 2]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Waits until the models are loaded; the error says why they cannot be.
async fn loaded(engine: &Handle, ids: &[String]) -> Result<bool> {
    let mut bar = progress::Loading::default();
    loop {
        let health = engine.health();
        match health.state {
            State::Loading { what, share } if !what.is_empty() => bar.report_of(&what, share),
            State::Ready(_) => {
                drop(bar);
                say!("ready: {}", ids.join(", "));
                return Ok(true);
            }
            State::Down { failure } if health.has_ended => return Err(failure.into()),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn warn_if_open(address: SocketAddr, settings: &Settings) {
    if !address.ip().is_loopback() && settings.api_keys.is_empty() {
        say!("warning: everybody who can reach {address} may use this server; --api-key KEY asks them for a key");
    }
}
