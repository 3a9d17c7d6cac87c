//! Does steering cost what the models cost? A steered step against the decodes of the three models alone, position by
//! position, on a trio of realistic size with random weights.
//!
//!     make bench

#![allow(clippy::cast_precision_loss)]

#[allow(dead_code, reason = "the tests write more kinds of files")]
#[path = "../support/gguf.rs"]
mod gguf;
mod measured;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use proxytune::engine::Engine;
use proxytune::generate::{Draft, Event, Request};
use proxytune::llama::context::{ContextParams, Outputs};
use proxytune::llama::{Token, backend, log};
use proxytune::prompt::Conversation;
use proxytune::recipe::Schedule;
use proxytune::sampling::Sampling;
use proxytune::steer::{self, Ensemble, ModelSource, Models, PairPlan, Plan, Sampled, Sequence, SidePlan, Work};

use gguf::{Kind, Spec, byte_tokens};
use measured::print;

const N_POSITIONS: usize = 256;
const N_WARM_UP: usize = 16;
const N_VOCAB: usize = 32_000;

fn main() -> Result<(), Box<dyn Error>> {
    log::capture(false);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // TinyLlama's shape for the base; a ninth of it for the pair.
    let small = |seed| Spec {
        n_ctx: 2048,
        n_embd: 768,
        n_layer: 10,
        n_head: 12,
        n_head_kv: 12,
        n_ff: 2048,
        kind: Kind::Q8_0,
        tokens: byte_tokens(N_VOCAB),
        seed,
        ..Spec::tiny()
    };
    let base = Spec { n_embd: 2048, n_layer: 22, n_head: 32, n_head_kv: 4, n_ff: 5632, kind: Kind::Q4_0, ..small(1) };
    let base = write(&folder, "base", &base)?;
    let expert = write(&folder, "expert", &small(2))?;
    let antiexpert = write(&folder, "antiexpert", &small(3))?;

    let backend = backend::shared()?;
    let mut models = Models::default();
    let mut load = |plan: &Plan| Ensemble::load(&backend, plan, &mut models, &mut |_, _, _| true);
    let model = |source: &ModelSource| Some(SidePlan::from(source.clone()));
    let pair = PairPlan {
        alpha: Schedule::constant(1.0),
        expert: model(&expert),
        antiexpert: model(&antiexpert),
        ..PairPlan::default()
    };
    let ensemble = load(&Plan { pairs: vec![pair], ..Plan::alone(base.clone()) })?;
    let mut singles = Vec::new();
    for source in [&base, &expert, &antiexpert] {
        let mut single = load(&Plan::alone(source.clone()))?;
        let sequence = single.open()?;
        singles.push((single, sequence));
    }
    for (i, lane) in ensemble.lanes().iter().enumerate() {
        let model = ensemble.model(i);
        println!("{}: {:.2} B parameters, {} MB", lane.role, model.n_params() as f64 / 1e9, model.n_bytes() >> 20);
    }

    let prompt = Conversation::prompt("A line of text to begin with. ".repeat(4));
    for (single, sequence) in &mut singles {
        let prompts = single.prompts(Sampled::Steered, &prompt, &[])?;
        single.begin(sequence, Sampled::Steered, &prompts)?;
        step(single, sequence, Outputs::Last)?;
    }
    // The engine with one slot, as `generate` runs it.
    let mut engine = Engine::inline(ensemble);
    let sampling = Sampling { seed: Some(1), ignore_eos: true, ..Sampling::default() };
    engine.submit(&Request { sampling, draft: Draft::off(), ..Request::of(prompt) })?;
    let mut token = tick(&mut engine)?;

    let (mut ratios, mut outside, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    let mut parts = [const { Vec::new() }; 3];
    for position in 0..N_WARM_UP + N_POSITIONS {
        let mut sum = 0.0;
        let fed = token;
        let mut time_alone = |parts: &mut [Vec<f64>; 3]| -> Result<(), Box<dyn Error>> {
            for ((single, sequence), part) in singles.iter_mut().zip(parts) {
                single.push(sequence, fed)?;
                let began = Instant::now();
                step(single, sequence, Outputs::All)?;
                let spent = began.elapsed().as_secs_f64();
                part.push(spent);
                sum += spent;
            }
            Ok(())
        };
        // Taking turns, so that neither is always the one that finds the caches cold.
        if position % 2 == 0 {
            time_alone(&mut parts)?;
        }
        let before = engine.ensemble().busy();
        let began = Instant::now();
        token = tick(&mut engine)?;
        let step = began.elapsed().as_secs_f64();
        if position % 2 == 1 {
            time_alone(&mut parts)?;
        }
        let inside = engine.ensemble().busy().saturating_sub(before).as_secs_f64();
        if position >= N_WARM_UP {
            ratios.push(step / sum);
            outside.push((step - inside) / step);
            steps.push(step * 1e3);
        }
    }
    for (part, name) in parts.iter_mut().zip(["base", "expert", "antiexpert"]) {
        let mut ms: Vec<_> = part.split_off(N_WARM_UP).into_iter().map(|seconds| seconds * 1e3).collect();
        print(&format!("{name} alone, ms"), &mut ms);
    }
    print("steered step, ms", &mut steps);
    print("steered step / sum of the three alone", &mut ratios);
    print("share of the step outside llama_decode", &mut outside);
    Ok(())
}

fn step(ensemble: &mut Ensemble, sequence: &mut Sequence, outputs: Outputs) -> Result<(), steer::Error> {
    ensemble.step(&mut [Work { sequence, n_tokens: usize::MAX, outputs, ahead: None }]).into_iter().collect()
}

/// One tick, which gives a token.
fn tick(engine: &mut Engine) -> Result<Token, Box<dyn Error>> {
    let (mut token, mut failure) = (None, None);
    engine.tick(&mut |_, event| match event {
        Event::Token(generated) => token = Some(generated.token),
        Event::Failed(failed) => failure = Some(failed.failure),
        _ => {}
    });
    failure.map_or(Ok(()), Err)?;
    token.ok_or_else(|| "a tick without a token".into())
}

/// Writes a model unless it is there.
fn write(folder: &Path, name: &str, spec: &Spec) -> Result<ModelSource, Box<dyn Error>> {
    let path = folder.join(name).with_extension("gguf");
    if !path.is_file() {
        let part = path.with_extension("part");
        spec.write(&part)?;
        std::fs::rename(&part, &path)?;
    }
    let context = ContextParams { n_ctx: 2048, ..ContextParams::default() };
    Ok(ModelSource { context, ..ModelSource::new(path) })
}
