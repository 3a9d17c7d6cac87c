//! The bundled trio, and short ways to generate with it.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use proxytune::generate::{Finish, Generation, Request};
use proxytune::llama::Token;
use proxytune::llama::backend::{self, Backend};
use proxytune::llama::context::ContextParams;
use proxytune::recipe::Schedule;
use proxytune::sampling::Sampling;
use proxytune::steer::load::Models;
use proxytune::steer::{Error, ModelSource, PairPlan, Plan, SidePlan, Steered};

pub const PROMPT: &str = "Once upon a time there was a little girl";

pub fn file(role: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo").join(role).with_extension("gguf")
}

/// One thread: the models are tiny, and tests run beside one another.
pub fn source(path: impl Into<PathBuf>) -> ModelSource {
    let context = ContextParams { n_ctx: 256, n_threads: 1, ..ContextParams::default() };
    ModelSource { context, ..ModelSource::new(path) }
}

#[allow(clippy::unnecessary_wraps, reason = "a side of a pair, to stand beside None")]
pub fn model(path: impl Into<PathBuf>) -> Option<SidePlan> {
    Some(source(path).into())
}

pub fn plan(base: &str, pairs: &[(f32, Option<SidePlan>, Option<SidePlan>)]) -> Plan {
    let pair = |(alpha, expert, antiexpert): &(f32, Option<SidePlan>, Option<SidePlan>)| PairPlan {
        alpha: Schedule::constant(*alpha),
        expert: expert.clone(),
        antiexpert: antiexpert.clone(),
    };
    Plan { pairs: pairs.iter().map(pair).collect(), ..Plan::alone(source(file(base))) }
}

/// Base, expert and antiexpert as bundled.
pub fn demo(alpha: f32) -> Plan {
    plan("base", &[(alpha, model(file("expert")), model(file("antiexpert")))])
}

pub fn backend() -> Backend {
    backend::shared().expect("nobody else holds it")
}

pub fn load(plan: &Plan) -> Result<Steered, Error> {
    proxytune::llama::log::capture(false);
    Steered::load(&backend(), plan, &mut Models::default(), &mut |_, _, _| true)
}

pub fn greedy(n_predict: usize) -> Request {
    Request { sampling: Sampling::greedy(), n_predict: Some(n_predict), ..Request::default() }
}

/// llama.cpp's default chain with a fixed seed.
pub fn sampled(n_predict: usize, seed: u32) -> Request {
    let sampling = Sampling { seed: Some(seed), ..Sampling::default() };
    Request { sampling, n_predict: Some(n_predict), ..Request::default() }
}

#[derive(Debug, PartialEq)]
pub struct Answer {
    pub tokens: Vec<Token>,
    pub text: String,
    pub finish: Finish,
}

pub fn generate(steered: &mut Steered, prompt: &str, request: &Request) -> Result<Answer, Error> {
    let prompts = steered.tokenize(prompt)?;
    let stop = AtomicBool::new(false);
    let mut generation = Generation::start(steered, &prompts, request, &stop)?;
    let (mut tokens, mut text) = (Vec::new(), String::new());
    while let Some(step) = generation.step()? {
        tokens.push(step.token);
        text += &step.text;
    }
    let finish = generation.finish().expect("it has ended");
    Ok(Answer { tokens, text, finish })
}

/// Loads a plan and answers [`PROMPT`].
pub fn answer(plan: &Plan, request: &Request) -> Answer {
    generate(&mut load(plan).expect("the trio loads"), PROMPT, request).expect("it generates")
}
