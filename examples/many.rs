//! Eight prompts at once on the bundled trio: an engine on a thread of its own decodes all of them together.
//!
//!     cargo run --example many

use std::time::Instant;

use proxytune::engine::{Engine, Handle, Settings};
use proxytune::generate::{Answer, Request};
use proxytune::llama::context::ContextParams;
use proxytune::llama::{backend, log};
use proxytune::recipe::Recipe;
use proxytune::steer::{Ensemble, ModelSource, Models, Plan, Texts};

const PROMPTS: [&str; 8] = [
    "Once upon a time",
    "The old man sat by the sea and",
    "One morning the boy went to the river and",
    "In the garden there was a small",
    "The dog looked at the cat.",
    "It was a dark night, and",
    "Her mother said:",
    "Far away, behind the hills,",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    log::capture(false);
    let recipe = Recipe::open("demo")?;
    let context = ContextParams { n_ctx: 256, ..ContextParams::default() };
    let backend = backend::shared()?;
    let plan = Plan::of_recipe(&recipe, &ModelSource { context, ..ModelSource::new("") }, &backend)?;

    // Room for eight texts. Each model has one context, and one batch decodes what all texts want of it.
    let n = PROMPTS.len();
    let plan = Plan { texts: Texts::sharing(n, n), ..plan };
    let ensemble = Ensemble::load(&backend, &plan, &mut Models::default(), &mut |_, _, _| true)?;
    let engine = Handle::spawn(Engine::new(ensemble, Settings { n_slots: n, ..Settings::default() }))?;

    let began = Instant::now();
    let request =
        |prompt: &str| Request { sampling: recipe.sampling.clone(), n_predict: Some(40), ..Request::prompt(prompt) };
    let running = PROMPTS.map(|prompt| engine.submit(request(prompt)));
    let mut n_tokens = 0;
    for (prompt, running) in PROMPTS.iter().zip(running) {
        let mut answer = Answer::starting_with(prompt);
        for event in running? {
            answer.add(event);
        }
        if let Some(failure) = answer.failure {
            return Err(failure.into());
        }
        println!("{}\n", answer.text);
        n_tokens += answer.tokens.len();
    }
    println!("{n_tokens} tokens, {:.0} a second", n_tokens as f64 / began.elapsed().as_secs_f64());
    Ok(())
}
