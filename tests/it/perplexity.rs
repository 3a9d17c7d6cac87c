//! The figures of the model card, computed another way.

use proxytune::eval::perplexity::{Predictor, measure};
use proxytune::steer::Role;

use crate::trio::{demo, load};

const TEXT: &str =
    "The old man walked slowly down the road. He had a dog, and the dog was tired. \"We shall be home soon,\" he said.";

#[test]
fn the_losses_are_those_of_the_lanes() {
    let mut plan = demo(1.0);
    plan.contexts_mut().for_each(|context| (context.n_ctx, context.n_outputs_max) = (16, 5));
    let mut steered = load(&plan).expect("the trio loads");
    let report =
        measure(&mut steered, TEXT, &[0.0, 0.7].map(Predictor::Steered), None, |_, _| true).expect("it measures");
    let tokens = steered.base().model().tokenize(TEXT).expect("tokens");
    assert_eq!(report.n_tokens, tokens.len() - 1);
    assert_eq!(report.n_windows, (tokens.len() - 1).div_ceil(15));

    // Again, one token at a time, in f64.
    let mut sums = [0.0; 4];
    for window in tokens[1..].chunks(15) {
        steered.clear();
        let mut last = tokens[0];
        for &next in window {
            steered.decode(&[last]).expect("it decodes");
            let rows: Vec<Vec<f64>> = steered
                .rows(0)
                .map(|row| row.expect("a row").1.logits().iter().map(|&logit| f64::from(logit)).collect())
                .collect();
            let composed =
                (0..rows[0].len()).map(|id| rows[0][id] + f64::from(0.7_f32) * (rows[1][id] - rows[2][id])).collect();
            for (sum, row) in sums.iter_mut().zip([&rows[0], &rows[1], &rows[2], &composed]) {
                let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let log_sum = row.iter().map(|logit| (logit - max).exp()).sum::<f64>().ln() + max;
                *sum += log_sum - row[next as usize];
            }
            last = next;
        }
    }
    let expected = sums.map(|sum| sum / report.n_tokens as f64);
    let mean = |predictor| {
        let row = report.rows.iter().find(|row| row.predictor == predictor).expect("a row");
        row.loss.mean()
    };
    let got = [
        mean(Predictor::Alone(Role::Base)),
        mean(Predictor::Alone(Role::Expert(0))),
        mean(Predictor::Alone(Role::Antiexpert(0))),
        mean(Predictor::Steered(0.7)),
    ];
    for (got, expected) in got.iter().zip(expected) {
        // Decoding five at once rounds differently from one at a time.
        assert!((got - expected).abs() < 0.02, "{got} against {expected}");
    }
    assert_eq!(mean(Predictor::Steered(0.0)), mean(Predictor::Alone(Role::Base)));
}

#[test]
fn it_can_be_stopped_and_says_how_far_it_came() {
    let mut plan = demo(1.0);
    plan.contexts_mut().for_each(|context| (context.n_ctx, context.n_outputs_max) = (16, 16));
    let mut steered = load(&plan).expect("the trio loads");
    let mut n_asked = 0;
    let report = measure(&mut steered, TEXT, &[], None, |_, _| {
        n_asked += 1;
        n_asked <= 1
    });
    let report = report.expect("it measures");
    assert_eq!((report.n_windows, report.n_tokens), (1, 15));
    let report = measure(&mut steered, TEXT, &[], Some(1), |_, _| true).expect("it measures");
    assert_eq!(report.n_windows, 1);
}
