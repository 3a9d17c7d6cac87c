//! Writes every model's logits, and the sum of them that is sampled from, behind each token of a prompt.
//!
//!     cargo run --example rows -- demo "Once upon a time" rows.bin
//!
//! The file begins with a line of JSON that tells the rest: `tokens`, `n_vocab`, the `alpha` of the first pair, and the
//! names of the `arrays` that follow, each as little-endian f32 `[n_tokens][n_vocab]`, by the base's ids; NaN stands
//! where a small model lacks a token of the base. In `NumPy`:
//!
//!     head, rest = open("rows.bin", "rb").read().split(b"\n", 1)
//!     head = json.loads(head)
//!     arrays = np.frombuffer(rest, "<f4").reshape(len(head["arrays"]), len(head["tokens"]), head["n_vocab"])

use std::fs::File;
use std::io::{BufWriter, Write};

use proxytune::llama::context::{ContextParams, Outputs};
use proxytune::llama::{backend, log};
use proxytune::recipe::Recipe;
use proxytune::steer::{Ensemble, ModelSource, Models, Plan, Sampled, Work};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    log::capture(false);
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, prompt, path] = args.as_slice() else { return Err("expected RECIPE PROMPT FILE".into()) };

    let recipe = Recipe::open(recipe)?;
    let backend = backend::shared()?;
    let context = ContextParams { n_ctx: 1024, ..ContextParams::default() };
    let plan = Plan::of_recipe(&recipe, &ModelSource { context, ..ModelSource::new("") }, &backend)?;
    let mut ensemble = Ensemble::load(&backend, &plan, &mut Models::default(), &mut |_, _, _| true)?;

    // Every lane is given the same tokens, without templates. Rows are counted from behind the first one.
    let base = ensemble.model(0);
    let tokens = base.tokenize(prompt)?;
    let Some((first, rest)) = tokens.split_first() else { return Err("the prompt has no tokens".into()) };
    let mut sequence = ensemble.open()?;
    let prompts = ensemble.same(Sampled::Steered, &[*first])?;
    ensemble.begin(&mut sequence, Sampled::Steered, &prompts)?;
    for &token in rest {
        ensemble.push(&mut sequence, token)?;
    }

    let lanes = ensemble.lanes().len();
    let mut arrays = vec![Vec::new(); lanes + 1];
    let mut composed = Vec::new();
    let n_vocab = ensemble.topology().n_vocab();
    let mut n_done = 0;
    while n_done < tokens.len() {
        let n_tokens = ensemble.n_rows_max().min(ensemble.n_batch());
        let work = Work { sequence: &mut sequence, n_tokens, outputs: Outputs::All, ahead: None };
        ensemble.step(&mut [work]).into_iter().collect::<Result<(), _>>()?;
        // Rows last until the next step.
        while n_done < sequence.n_held(0) {
            for (lane, array) in arrays[..lanes].iter_mut().enumerate() {
                let row = ensemble.lane_row(&sequence, lane, n_done)?;
                array.extend((0..n_vocab).map(|id| row.get(id).unwrap_or(f32::NAN)));
            }
            ensemble.composed(&sequence, n_done, 0.0, &mut composed)?;
            arrays[lanes].extend_from_slice(&composed);
            n_done += 1;
        }
    }

    let names = ensemble.lanes().iter().map(|lane| lane.role.to_string()).chain(["composed".to_owned()]);
    let alpha = ensemble.topology().alphas().next().map(|alpha| alpha.at(0));
    let head = serde_json::json!({
        "tokens": tokens, "n_vocab": n_vocab, "alpha": alpha, "arrays": names.collect::<Vec<_>>(),
    });
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "{head}")?;
    for logit in arrays.iter().flatten() {
        file.write_all(&logit.to_le_bytes())?;
    }
    Ok(file.flush()?)
}
