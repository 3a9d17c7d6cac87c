//! What is said of the bundled models in their card, held against the models.

use std::collections::HashMap;
use std::path::PathBuf;

use proxytune::eval::perplexity::{Predictor, PredictorLoss, measure};
use proxytune::generate::{Draft, Request};
use proxytune::llama::context::ContextParams;
use proxytune::recipe::Recipe;
use proxytune::sampling::Sampling;
use proxytune::steer::{ModelSource, Plan, Role};

use crate::trio::{self, Steered, backend, file};

fn demo(name: &str) -> PathBuf {
    file("base").with_file_name(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(demo(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn load(recipe: &Recipe, context: ContextParams) -> Steered {
    proxytune::llama::log::capture(false);
    let defaults = ModelSource { context, ..trio::source("") };
    let plan = Plan::of_recipe(recipe, &defaults, &backend()).expect("a plan");
    trio::load(&plan).expect("it loads")
}

fn recipe(name: &str) -> Recipe {
    Recipe::open(demo(name).to_str().expect("UTF-8")).unwrap_or_else(|error| panic!("{error}"))
}

/// Tokens that, one after the other, make a loop when they come again and again.
const N_LOOP: usize = 6;

fn has_loop(tokens: &[proxytune::llama::Token]) -> bool {
    let mut seen = HashMap::new();
    tokens.windows(N_LOOP).any(|run| {
        let n = seen.entry(run).or_insert(0);
        *n += 1;
        *n == 3
    })
}

/// With the chain of its recipe the demo writes a hundred tokens without going in a circle, greedy and sampled; without
/// it the greedy base does go in one. Processors round differently, and at a near tie write something else.
#[test]
fn the_demo_writes_without_loops() {
    let recipe = recipe("recipe.toml");
    let looping = |steered: &mut Steered, prompt: &str, sampling: Sampling| {
        let mut request = Request { sampling, ..Request::prompt(prompt) };
        (request.n_predict, request.draft) = (Some(100), Draft::off());
        steered.engine.forget();
        let tokens = steered.run(&request).tokens;
        usize::from(has_loop(&tokens))
    };
    let mut base = trio::load(&trio::plan("base", &[])).expect("it loads");
    let mut steered = load(&recipe, trio::source("").context);
    let (mut of_base, mut of_demo) = (0, 0);
    for prompt in read("prompts.txt").lines() {
        of_base += looping(&mut base, prompt, Sampling::greedy());
        of_demo += looping(&mut steered, prompt, Sampling { temp: 0.0, ..recipe.sampling.clone() });
        for seed in 1..=3 {
            of_demo += looping(&mut steered, prompt, Sampling { seed: Some(seed), ..recipe.sampling.clone() });
        }
    }
    assert!(of_base >= 6, "{of_base} of 10");
    assert!(of_demo <= 1, "{of_demo} of 40");
}

/// The figures of the table under this heading of the card, by the first cell of each row: nats a token.
fn figures(heading: &str, column: usize) -> HashMap<String, f64> {
    let card = read("README.md");
    let section = card.split(&format!("## {heading}\n")).nth(1).expect("the section");
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = rows.skip(2).map(|row| row.split('|').map(|cell| cell.replace('*', "").trim().to_owned()).collect());
    let nats = |cell: &str| cell.split('±').next().and_then(|mean| mean.trim().parse().ok()).expect("nats");
    cells.map(|cells: Vec<String>| (cells[1].clone(), nats(&cells[column]))).collect()
}

fn name(row: &PredictorLoss) -> String {
    match row.predictor {
        Predictor::Alone(Role::Base) => "base".to_owned(),
        Predictor::Alone(Role::Expert(_)) => "expert".to_owned(),
        Predictor::Alone(Role::Antiexpert(_)) => "antiexpert".to_owned(),
        Predictor::Steered(alpha) => format!("steered, α = {alpha}"),
        Predictor::Planned => "planned".to_owned(),
    }
}

/// The held-out texts that are part of the repository, from end to end.
#[test]
fn the_cards_losses_are_those_of_the_files() {
    let texts = [
        ("recipe.toml", "heldout-prose.txt", "Held-out loss", 4),
        ("plays.toml", "heldout-plays.txt", "A second expert: plays", 2),
    ];
    for (trio, text, heading, column) in texts {
        let told = figures(heading, column);
        let predictors = [0.5, 0.75, 1.0].map(Predictor::Steered);
        let context = ContextParams { n_ctx: 512, n_outputs_max: 512, n_threads: 2, ..ContextParams::default() };
        let report =
            measure(load(&recipe(trio), context).engine.ensemble_mut(), &read(text), &predictors, None, |_, _| true);
        let rows = report.expect("it measures").rows;
        assert_eq!(rows.len(), 6);
        for row in &rows {
            let told = told.get(&name(row)).unwrap_or_else(|| panic!("{heading}: no row {}", name(row)));
            let got = row.figures.loss.mean();
            // Three digits, and processors round differently.
            assert!((got - told).abs() < 0.005, "{heading}, {}: {got} nats, {told} in the card", name(row));
        }
    }
}
