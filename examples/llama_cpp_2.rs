//! A program on llama-cpp-2, steered: its own model, context and sampler chain, and what it takes beside them.
//!
//!     cargo run --example llama_cpp_2 -- "Once upon a time"

use std::io::Write;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;
use proxytune::llama::context::ContextParams;
use proxytune::llama::{log, stage};
use proxytune::recipe::Schedule;
use proxytune::steer::{Ensemble, HostVocabulary, ModelSource, Models, PairPlan, Plan, Side};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    log::capture(false);
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "Once upon a time".to_owned());

    // As without steering.
    let backend = Arc::new(LlamaBackend::init()?);
    let model = LlamaModel::load_from_file(&backend, demo.join("base.gguf"), &LlamaModelParams::default())?;
    let pair_context = ContextParams { n_ctx: 512, ..ContextParams::default() };
    let n_threads = i32::try_from(pair_context.n_threads)?;
    let params = LlamaContextParams::default().with_n_ctx(NonZeroU32::new(512));
    // Teams of one size for base and pair, which take turns.
    let params = params.with_n_threads(n_threads).with_n_threads_batch(n_threads);
    let mut context = model.new_context(&backend, params)?;
    let tokens = model.vocab().tokenize(prompt.as_bytes(), true, false);
    let mut batch = LlamaBatch::new(512, 1);
    for (position, token) in (0..).zip(&tokens) {
        batch.add(*token, position, &[0], position as usize == tokens.len() - 1)?;
    }
    let mut chain = LlamaSampler::chain_simple([LlamaSampler::temp(0.6), LlamaSampler::dist(3)]);

    // The pair, with the program's backend.
    let side =
        |file: &str| Some(ModelSource { context: pair_context.clone(), ..ModelSource::new(demo.join(file)) }.into());
    let alpha = Schedule::constant(0.75);
    let pair =
        PairPlan { alpha, expert: side("expert.gguf"), antiexpert: side("antiexpert.gguf"), ..PairPlan::default() };
    let plan = Plan::beside(HostVocabulary::File(demo.join("base.gguf")), vec![pair]);
    let mut pair = Ensemble::load(&backend, &plan, &mut Models::default(), &mut |_, _, _| true)?;
    let mut text = pair.open()?;
    pair.feed(&mut text, Side::Both, &tokens.iter().map(|token| token.0).collect::<Vec<_>>())?;

    print!("{prompt}");
    let mut decoder = Vec::new();
    for position in (0..).skip(tokens.len()).take(80) {
        context.decode(&mut batch)?;
        let mut candidates = context.token_data_array_ith(batch.n_tokens() - 1);
        // What the pair has not read yet; then the stage, and the program's own samplers.
        pair.read(&mut text, || true)?;
        stage::apply_to(&mut candidates, 0.0, &pair.terms(&text, text.n_generated())?)?;
        candidates.apply_sampler(&mut chain);
        let token = candidates.selected_token().ok_or("no token was chosen")?;
        chain.accept(token);
        if model.vocab().is_eog(token) {
            break;
        }
        pair.push(&mut text, token.0)?;

        decoder.extend(model.vocab().token_to_piece(token, false, None));
        if let Ok(text) = std::str::from_utf8(&decoder) {
            print!("{text}");
            std::io::stdout().flush()?;
            decoder.clear();
        }
        batch.clear();
        batch.add(token, position, &[0], true)?;
    }
    println!();
    Ok(())
}
