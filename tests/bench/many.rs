//! Many texts at once on the grown trio: what S texts in one engine reach of what steps of S tokens of the three models
//! allow, how long a prompt holds up texts that are being written, and what a slot takes of memory.
//!
//!     make bench

#![allow(clippy::cast_precision_loss)]

mod measured;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use proxytune::engine::{Engine, Id, Settings};
use proxytune::generate::{Draft, Event, Request};
use proxytune::llama::backend::{self, Backend};
use proxytune::llama::context::{ContextParams, Outputs};
use proxytune::llama::{Token, log};
use proxytune::prompt::Conversation;
use proxytune::recipe::Recipe;
use proxytune::sampling::Sampling;
use proxytune::steer::{Ensemble, Error as SteerError, ModelSource, Models, Plan, Sampled, Sequence, Texts, Work};

use measured::print;

const N_SLOTS: usize = 8;
const N_CTX: usize = 1024;
const N_TICKS: usize = 64;
const N_WARM_UP: usize = 8;
/// The prompt that arrives beside others, and how many those are.
const N_LONG: usize = 900;
const N_BESIDE: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    log::capture(false);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/grown/recipe.toml");
    let recipe = Recipe::open(path.to_str().ok_or("a path in UTF-8")?)
        .map_err(|error| format!("{error}\nhint: `make grown` writes the models"))?;
    let backend = backend::shared()?;
    let context = ContextParams { n_ctx: N_CTX, ..ContextParams::default() };
    let plan = Plan::of_recipe(&recipe, &ModelSource { context, ..ModelSource::new("") }, &backend)?;
    let mut models = Models::default();
    let of = |plan: &Plan, n| Plan { texts: Texts::sharing(n, n), ..plan.clone() };

    let one = load(&backend, &of(&plan, 1), &mut models)?;
    let with_one = resident();
    drop(one);
    let before = resident();
    let ensemble = load(&backend, &of(&plan, N_SLOTS), &mut models)?;
    let with_all = resident();
    report_memory(&path, [with_one, before, with_all])?;

    let mut alone = Vec::new();
    for (_, source) in plan.sources() {
        alone.push(load(&backend, &of(&Plan::alone(source.clone()), N_SLOTS), &mut models)?);
    }
    let mut engine = Engine::new(ensemble, Settings { n_slots: N_SLOTS, ..Settings::default() });
    for n in [1, 2, 4, N_SLOTS] {
        throughput(&mut engine, &mut alone, n)?;
    }
    arrival(&mut engine, &mut alone)
}

fn load(backend: &Backend, plan: &Plan, models: &mut Models) -> Result<Ensemble, SteerError> {
    Ensemble::load(backend, plan, models, &mut |_, _, _| true)
}

fn request(prompt: &str) -> Request {
    let sampling = Sampling { ignore_eos: true, ..Sampling::greedy() };
    Request { sampling, draft: Draft::off(), ..Request::of(Conversation::prompt(prompt)) }
}

/// Ticks of an engine with `n` texts against steps of as many tokens on each model by itself, in turns.
fn throughput(engine: &mut Engine, alone: &mut [Ensemble], n: usize) -> Result<(), Box<dyn Error>> {
    let mut texts: BTreeMap<Id, Token> = BTreeMap::new();
    for i in 0..n {
        texts.insert(engine.submit(&request(&format!("Once upon a time there were {i} small")))?, 0);
    }
    while !tick(engine, &mut texts)? {}
    let mut sequences = Vec::new();
    for model in alone.iter_mut() {
        let mut own = Vec::new();
        for i in 0..n {
            let mut sequence = model.open()?;
            let prompt = Conversation::prompt(format!("Once upon a time there were {i} small"));
            let prompts = model.prompts(Sampled::Steered, &prompt, &[])?;
            model.begin(&mut sequence, Sampled::Steered, &prompts)?;
            own.push(sequence);
        }
        step(model, &mut own, Outputs::Last)?;
        sequences.push(own);
    }
    let (mut ratios, mut per_second, mut outside) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..N_WARM_UP + N_TICKS {
        let fed: Vec<Token> = texts.values().copied().collect();
        let mut time_alone = || -> Result<f64, Box<dyn Error>> {
            let mut sum = 0.0;
            for (model, own) in alone.iter_mut().zip(&mut sequences) {
                own.iter_mut().zip(&fed).try_for_each(|(sequence, &token)| model.push(sequence, token))?;
                let began = Instant::now();
                step(model, own, Outputs::All)?;
                sum += began.elapsed().as_secs_f64();
            }
            Ok(sum)
        };
        // Taking turns, so that neither is always the one that finds the caches cold.
        let first = if i % 2 == 0 { Some(time_alone()?) } else { None };
        let before = engine.ensemble().busy();
        let began = Instant::now();
        if !tick(engine, &mut texts)? {
            return Err("a text without a token in a tick".into());
        }
        let spent = began.elapsed().as_secs_f64();
        let inside = engine.ensemble().busy().saturating_sub(before).as_secs_f64();
        let sum = first.map_or_else(time_alone, Ok)?;
        if i >= N_WARM_UP {
            ratios.push(sum / spent);
            per_second.push(n as f64 / spent);
            outside.push((spent - inside) / spent);
        }
    }
    print(&format!("{n} texts: tokens a second"), &mut per_second);
    print(&format!("{n} texts: of what {n}-token steps allow"), &mut ratios);
    print(&format!("{n} texts: share outside llama_decode"), &mut outside);
    for &id in texts.keys() {
        engine.cancel(id);
    }
    engine.tick(&mut |_, _| {});
    engine.forget();
    for (model, own) in alone.iter_mut().zip(sequences) {
        for sequence in own {
            model.close(sequence);
        }
    }
    Ok(())
}

/// One tick; whether it gave a token for each text.
fn tick(engine: &mut Engine, texts: &mut BTreeMap<Id, Token>) -> Result<bool, Box<dyn Error>> {
    let (mut n, mut failure) = (0, None);
    engine.tick(&mut |id, event| match event {
        Event::Token(generated) => {
            n += 1;
            texts.insert(id, generated.token);
        }
        Event::Failed(failed) => failure = Some(failed.failure),
        _ => {}
    });
    failure.map_or(Ok(()), Err)?;
    Ok(n == texts.len())
}

fn step(model: &mut Ensemble, sequences: &mut [Sequence], outputs: Outputs) -> Result<(), SteerError> {
    let n_tokens = usize::MAX;
    let works = sequences.iter_mut().map(|sequence| Work { sequence, n_tokens, outputs, ahead: None });
    model.step(&mut works.collect::<Vec<_>>()).into_iter().collect()
}

/// A long prompt arrives beside texts that are being written: their worst gap against the time of a piece of it.
fn arrival(engine: &mut Engine, alone: &mut [Ensemble]) -> Result<(), Box<dyn Error>> {
    let n_chunk = engine.settings().n_chunk;
    let mut texts: BTreeMap<Id, Token> = BTreeMap::new();
    for i in 0..N_BESIDE {
        texts.insert(engine.submit(&request(&format!("Once upon a time there were {i} small")))?, 0);
    }
    let mut gaps = Vec::new();
    while !tick(engine, &mut texts)? {}
    for _ in 0..N_WARM_UP {
        tick(engine, &mut texts)?;
    }
    for _ in 0..N_TICKS / 2 {
        let began = Instant::now();
        tick(engine, &mut texts)?;
        gaps.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let n_vocab = engine.ensemble().topology().n_vocab();
    let tokens: Vec<Token> = (0..N_LONG).map(|i| (1000 + i * 7 % (n_vocab - 2000)) as Token).collect();
    let input = proxytune::generate::Input::Tokens(tokens.clone());
    let long = engine.submit(&Request { input, ..request("") })?;
    let (mut is_read, mut stretched) = (false, Vec::new());
    while !is_read {
        let began = Instant::now();
        engine.tick(&mut |id, event| is_read |= id == long && matches!(event, Event::Token(_)));
        stretched.push(began.elapsed().as_secs_f64() * 1e3);
    }
    // A piece of the prompt by itself, at its end, where it takes longest.
    let mut chunks = Vec::new();
    for _ in 0..4 {
        let mut sum = 0.0;
        for model in alone.iter_mut() {
            let mut own = vec![model.open()?];
            let prompts = model.same(Sampled::Steered, &tokens[..N_LONG - n_chunk])?;
            model.begin(&mut own[0], Sampled::Steered, &prompts)?;
            while own[0].n_missing() > 0 {
                let work = Work { sequence: &mut own[0], n_tokens: 256, outputs: Outputs::Last, ahead: None };
                model.step(&mut [work]).into_iter().collect::<Result<(), _>>()?;
            }
            tokens[N_LONG - n_chunk..].iter().try_for_each(|&token| model.push(&mut own[0], token))?;
            let began = Instant::now();
            step(model, &mut own, Outputs::Last)?;
            sum += began.elapsed().as_secs_f64() * 1e3;
            for sequence in own {
                model.close(sequence);
            }
        }
        chunks.push(sum);
    }
    print(&format!("{N_BESIDE} texts: gap between tokens, ms"), &mut gaps);
    print(&format!("the same while {N_LONG} tokens are read, ms"), &mut stretched);
    print(&format!("a piece of {n_chunk} tokens by itself, ms"), &mut chunks);
    let worst = stretched.iter().copied().fold(0.0, f64::max);
    println!("worst gap / a piece's median time: {:.2}", worst / chunks[chunks.len() / 2]);
    Ok(())
}

/// Bytes of memory that the process holds, those of files that are mapped included.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}

/// What slots take, beside what `check` says of one.
fn report_memory(recipe: &Path, [with_one, before, with_all]: [u64; 3]) -> Result<(), Box<dyn Error>> {
    let mb = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let output = Command::new(env!("CARGO_BIN_EXE_proxytune"))
        .args(["check", "--json", "-c", &N_CTX.to_string(), "-R"])
        .arg(recipe)
        .output()?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let bytes = |key: &str| -> u64 {
        let devices = said["devices"].as_array().into_iter().flatten();
        devices.filter_map(|device| device[key].as_u64()).sum()
    };
    println!(
        "check: weights {:.0} MB, KV cache {:.0} MB for one text of {N_CTX}, computing {:.0} MB",
        mb(bytes("weights")),
        mb(bytes("kv")),
        mb(bytes("compute"))
    );
    println!(
        "resident: {:.0} MB with one slot, {:.0} MB without contexts, {:.0} MB with {N_SLOTS}",
        mb(with_one),
        mb(before),
        mb(with_all)
    );
    Ok(())
}
