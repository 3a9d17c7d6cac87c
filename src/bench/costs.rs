//! What a step of several tokens costs, by a step of one.

use std::time::Instant;

use serde::Serialize;

use super::rounds::Rounds;
use super::row::How;
use super::settings::N_ROWS;
use crate::arithmetic::statistics::Median;
use crate::llama::Token;
use crate::llama::context::Outputs;
use crate::steer::{Ensemble, Error, Prompts, Sequence, Work};

/// Tokens in a step.
const WIDTHS: [usize; 5] = [1, 2, 4, 8, N_ROWS];
/// Steps of one width behind one another, of which the first is not counted: llama.cpp lays out anew what has another
/// shape than the last.
const N_ALIKE: usize = 4;

/// c(K) of a subject: seconds of a step of K tokens over those of a step of one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepCosts {
    pub role: String,
    pub how: &'static str,
    pub steps: Vec<StepCost>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepCost {
    pub n_tokens: usize,
    pub avg_ns: f64,
    /// Over the step of one token in the same round.
    pub c: Median,
}

fn step(ensemble: &mut Ensemble, sequence: &mut Sequence) -> Result<(), Error> {
    let n_tokens = ensemble.n_batch();
    ensemble.step(&mut [Work { sequence, n_tokens, outputs: Outputs::All, ahead: None }]).into_iter().collect()
}

/// Measures steps behind a prompt, taking back each. Nothing where a model cannot take back, or there is no room.
pub(super) fn measure(
    ensemble: &mut Ensemble,
    sequence: &mut Sequence,
    prompts: &Prompts,
    (role, how): (String, How),
    rounds: Rounds,
    goes_on: impl Fn() -> bool,
) -> Result<Option<StepCosts>, Error> {
    if !ensemble.can_roll_back() || !ensemble.read(sequence, &goes_on)? {
        return Ok(None);
    }
    let n_max = ensemble.n_rows_max().min(ensemble.n_left(sequence));
    let ends = ensemble.ends_of(sequence);
    let can_be_told = |token: &Token| ends.can_be_told(*token);
    let tokens: Vec<_> = prompts.sampled().iter().copied().filter(can_be_told).cycle().take(n_max).collect();
    // A prompt may hold nothing that every model knows.
    let widths: Vec<_> = WIDTHS.into_iter().filter(|&n| n <= tokens.len()).collect();
    // The first round warms up.
    let mut measured: Vec<Vec<f64>> = Vec::new();
    let mut began = Instant::now();
    while measured.is_empty() || rounds.goes_on(measured.len() - 1, began.elapsed()) {
        let mut round = Vec::new();
        for &n in &widths {
            let mut ns = Vec::new();
            for _ in 0..N_ALIKE {
                if !goes_on() {
                    return Ok(costs(role, how, &widths, &measured));
                }
                tokens[..n].iter().try_for_each(|&token| ensemble.push(sequence, token))?;
                let began = Instant::now();
                step(ensemble, sequence)?;
                ns.push(began.elapsed().as_nanos() as f64);
                ensemble.take_back(sequence, n);
            }
            round.push(Median::of(ns.into_iter().skip(1)).median);
        }
        if measured.is_empty() {
            began = Instant::now();
        }
        measured.push(round);
    }
    Ok(costs(role, how, &widths, &measured))
}

fn costs(role: String, how: How, widths: &[usize], rounds: &[Vec<f64>]) -> Option<StepCosts> {
    // The first round warms up.
    let rounds = rounds.get(1..)?;
    let step = |(at, &n_tokens): (usize, &usize)| {
        let avg_ns = rounds.iter().map(|round| round[at]).sum::<f64>() / rounds.len() as f64;
        StepCost { n_tokens, avg_ns, c: Median::of(rounds.iter().map(|round| round[at] / round[0])) }
    };
    let steps = widths.iter().enumerate().map(step).collect();
    (!rounds.is_empty()).then_some(StepCosts { role, how: how.name(), steps })
}
