//! Steers the bundled base with the bundled pair, and prints the text as it is decided.
//!
//!     cargo run --example steer -- "Once upon a time"

use std::io::Write;
use std::sync::atomic::AtomicBool;

use proxytune::generate::{Generation, Request};
use proxytune::llama::lane::LaneParams;
use proxytune::llama::model::ModelParams;
use proxytune::llama::{backend, log};
use proxytune::recipe::{Recipe, Side};
use proxytune::steer::load::Models;
use proxytune::steer::{ModelSource, PairPlan, Plan, SidePlan, Steered};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    log::capture(false);
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "Once upon a time".to_owned());

    // What is to run: files, α, and how each lane computes.
    let recipe = Recipe::open("demo")?;
    let source = |path: &std::path::Path| ModelSource {
        path: path.to_path_buf(),
        model: ModelParams::default(),
        lane: LaneParams { n_ctx: 512, ..LaneParams::default() },
    };
    let side = |side: &Option<Side>| {
        side.as_ref().map(|side| match side {
            Side::Base => SidePlan::Base,
            Side::File(path) => SidePlan::Model(source(path)),
        })
    };
    let pair = |pair: &proxytune::recipe::Pair| PairPlan {
        alpha: pair.alpha,
        expert: side(&pair.expert),
        antiexpert: side(&pair.antiexpert),
    };
    let plan = Plan { pairs: recipe.pairs.iter().map(pair).collect(), ..Plan::alone(source(&recipe.base)) };

    // Three lanes, kept in step.
    let mut steered = Steered::load(&backend::shared()?, &plan, &mut Models::default(), &mut |_, _, _| true)?;
    let prompts = steered.tokenize(&prompt)?;
    let request = Request { sampling: recipe.sampling.clone(), n_predict: Some(80), ..Request::default() };
    let stop = AtomicBool::new(false);
    let mut generation = Generation::start(&mut steered, &prompts, &request, &stop)?;
    print!("{prompt}");
    while let Some(step) = generation.step()? {
        print!("{}", step.text);
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
