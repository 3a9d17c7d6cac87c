//! Steers the bundled base with the bundled pair, and prints the text as it is decided.
//!
//!     cargo run --example steer -- "Once upon a time"

use std::io::Write;
use std::sync::atomic::AtomicBool;

use proxytune::generate::{Generation, Request};
use proxytune::llama::context::ContextParams;
use proxytune::llama::{backend, log};
use proxytune::recipe::Recipe;
use proxytune::steer::load::Models;
use proxytune::steer::{ModelSource, Plan, Steered};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    log::capture(false);
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "Once upon a time".to_owned());

    // What is to run: files, α, and how each model computes.
    let recipe = Recipe::open("demo")?;
    let context = ContextParams { n_ctx: 512, ..ContextParams::default() };
    let backend = backend::shared()?;
    let plan = Plan::of_recipe(&recipe, &ModelSource { context, ..ModelSource::new("") }, &backend)?;

    // Three lanes, kept in step.
    let mut steered = Steered::load(&backend, &plan, &mut Models::default(), &mut |_, _, _| true)?;
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
