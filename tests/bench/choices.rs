//! Multiple choice by log-likelihood: what `eval` reaches of what the three models' batches allow for as many tokens at the
//! same places, where all items are of one length and nothing is scored.
//!
//!     cargo bench --bench choices            # the bundled trio
//!     RECIPE=my-recipe.toml ITEMS=48 ROUNDS=3 cargo bench --bench choices

#![allow(clippy::cast_precision_loss)]

mod measured;

use std::error::Error;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use proxytune::eval::contender::{Contender, Kind};
use proxytune::eval::item::Item;
use proxytune::eval::questions::Questions;
use proxytune::eval::results::Results;
use proxytune::eval::scored::{self, Open};
use proxytune::eval::task::Task;
use proxytune::llama::backend;
use proxytune::llama::context::{ContextParams, Outputs};
use proxytune::llama::log;
use proxytune::recipe::Recipe;
use proxytune::sampling::Sampling;
use proxytune::steer::{Ensemble, ModelSource, Models, Plan, Role, Sampled, Sequence, Texts, WeightsRequest, Work};

use measured::print;

const TEXT: &str = include_str!("../../models/demo/heldout-prose.txt");
const N_AT_ONCE: usize = 16;
const N_CHOICES: usize = 4;
const PROMPT_BYTES: usize = 360;
const CHOICE_BYTES: usize = 30;
const N_CTX: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    log::capture(false);
    let recipe = Recipe::open(&std::env::var("RECIPE").unwrap_or_else(|_| "demo".to_owned()))?;
    let backend = backend::shared()?;
    let context = ContextParams { n_ctx: N_CTX, n_outputs_max: 512, ..ContextParams::default() };
    let plan = Plan::of_recipe(&recipe, &ModelSource { context, ..ModelSource::new("") }, &backend)?;
    let plan = Plan { texts: Texts::apart(N_AT_ONCE), ..plan };
    let mut ensemble = Ensemble::load(&backend, &plan, &mut Models::default(), &mut |_, _, _| true)?;

    let spec = "metric = 'multiple_choice'\nprompt = 'prompt'\nchoices = 'choices'\nanswer = '0'";
    let task = Task::new("bench".to_owned(), toml::from_str(spec)?)?;
    let number = |name: &str, otherwise: usize| std::env::var(name).map_or(Ok(otherwise), |n| n.parse());
    let (n_items, n_rounds) = (number("ITEMS", 96)?, number("ROUNDS", 5)?);
    let items = (0..n_items).map(|i| item(&task, i)).collect::<Result<Vec<_>, _>>()?;
    let sampling = Sampling::greedy();
    let questions = Questions { task: &task, items: &items, system: None, sampling: &sampling };
    let contender = |name: &str, kind, sampled| Contender {
        name: name.to_owned(),
        kind,
        sampled,
        weights: WeightsRequest::default(),
    };
    let contenders = [
        contender("base", Kind::Base, Sampled::Alone(Role::Base)),
        contender("expert", Kind::Expert, Sampled::Alone(Role::Expert(0))),
        contender("steered", Kind::Steered, Sampled::Steered),
    ];
    let open = Open::new(ensemble.loaded(), &questions, &contenders, &Results::default())?;

    let (mut shares, mut outside, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=n_rounds {
        let busy = ensemble.busy();
        let began = Instant::now();
        let cancel = AtomicBool::new(false);
        scored::run(&mut ensemble, &open, &contenders, &questions, &mut Results::default(), &cancel, &mut |_| {})?;
        let spent = began.elapsed().as_secs_f64();
        let inside = ensemble.busy().saturating_sub(busy).as_secs_f64();
        let allowed = batches(&mut ensemble, n_items, open.n_read())?;
        // The first warms up.
        if round > 0 {
            shares.push(allowed / spent);
            outside.push(1.0 - inside / spent);
            rates.push(open.n_read() as f64 / spent);
        }
    }
    println!("{n_items} items of {N_CHOICES} choices, {} tokens read on each lane", open.n_read());
    print("tokens a second on each lane", &mut rates);
    print("of what batches allow", &mut shares);
    print("share outside llama_decode", &mut outside);
    Ok(())
}

/// A beginning, and how it goes on, here and elsewhere in the text.
fn item(task: &Task, i: usize) -> Result<Item, String> {
    let words = |at: usize, n: usize| -> String { TEXT.chars().skip(at).take(n).collect() };
    let at = i * 700;
    let choices: Vec<_> = (0..N_CHOICES).map(|c| words(at + PROMPT_BYTES + 150 * c, CHOICE_BYTES)).collect();
    let fields = serde_json::json!({"prompt": words(at, PROMPT_BYTES), "choices": choices});
    task.item(fields.as_object().ok_or("an object")?)
}

/// Seconds for as many items of the mean length, so many tokens in all: prompts with a row behind each, then one answer after
/// the other with a row behind each token.
fn batches(ensemble: &mut Ensemble, n_items: usize, n_tokens: usize) -> Result<f64, Box<dyn Error>> {
    let tokens = ensemble.model(0).tokenize(TEXT)?;
    let n_item = n_tokens / n_items;
    let n_answer = (n_item * CHOICE_BYTES).div_ceil(PROMPT_BYTES + N_CHOICES * CHOICE_BYTES);
    let n_prompt = n_item - N_CHOICES * n_answer;
    let prompts = ensemble.same(Sampled::Steered, &tokens[..n_prompt])?;
    let mut sequences = (0..N_AT_ONCE).map(|_| ensemble.open()).collect::<Result<Vec<Sequence>, _>>()?;
    let began = Instant::now();
    for _ in 0..n_items / N_AT_ONCE {
        for sequence in &mut sequences {
            ensemble.clear(sequence);
            ensemble.begin(sequence, Sampled::Steered, &prompts)?;
        }
        step(ensemble, &mut sequences, Outputs::Last)?;
        for _ in 0..N_CHOICES {
            for sequence in &mut sequences {
                tokens[n_prompt..][..n_answer].iter().try_for_each(|&token| ensemble.push(sequence, token))?;
            }
            step(ensemble, &mut sequences, Outputs::All)?;
            for sequence in &mut sequences {
                ensemble.keep(sequence, 0);
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    for sequence in sequences {
        ensemble.close(sequence);
    }
    Ok(seconds)
}

/// All that sequences lack, in batches to which each gives as much.
fn step(ensemble: &mut Ensemble, sequences: &mut [Sequence], outputs: Outputs) -> Result<(), Box<dyn Error>> {
    let n_each = ensemble.n_batch() / sequences.len();
    while sequences.iter().any(|sequence| sequence.n_missing() > 0) {
        let work = |sequence| Work { sequence, n_tokens: n_each, outputs, ahead: None };
        let mut works: Vec<_> = sequences.iter_mut().map(work).collect();
        ensemble.step(&mut works).into_iter().collect::<Result<(), _>>()?;
    }
    Ok(())
}
