//! Steers the bundled base with the bundled pair, and prints the text as it is decided.
//!
//!     cargo run --example steer -- "Once upon a time"

use std::io::Write;
use std::sync::atomic::AtomicBool;

use proxytune::engine::Engine;
use proxytune::generate::{Answer, Request};
use proxytune::llama::context::ContextParams;
use proxytune::llama::{backend, log};
use proxytune::recipe::Recipe;
use proxytune::steer::{Ensemble, ModelSource, Models, Plan};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    log::capture(false);
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "Once upon a time".to_owned());

    // What is to run: files, α, and how each model computes.
    let recipe = Recipe::open("demo")?;
    let context = ContextParams { n_ctx: 512, ..ContextParams::default() };
    let backend = backend::shared()?;
    let plan = Plan::of_recipe(&recipe, &ModelSource { context, ..ModelSource::new("") }, &backend)?;

    // Three models, and an engine that runs a text at a time on them. The expert drafts what the base then checks.
    let ensemble = Ensemble::load(&backend, &plan, &mut Models::default(), &mut |_, _, _| true)?;
    let mut engine = Engine::inline(ensemble);
    let request = Request { sampling: recipe.sampling, n_predict: Some(80), ..Request::prompt(&prompt) };
    print!("{prompt}");
    let (stop, mut answer) = (AtomicBool::new(false), Answer::default());
    engine.run(&request, &stop, &mut answer, |_, text| {
        print!("{text}");
        std::io::stdout().flush()
    })?;
    println!();
    if let Some(failure) = answer.failure {
        return Err(failure.into());
    }
    let drafts = answer.stats.all();
    eprintln!("{} of {} drafted tokens were accepted", drafts.n_accept, drafts.n_drafted);
    Ok(())
}
