//! The figures of the model card, computed another way.

use proxytune::eval::perplexity::{Predictor, measure};
use proxytune::llama::context::FlashAttention;
use proxytune::recipe::placement::CacheType;
use proxytune::steer::{Plan, Role, Texts};

use crate::trio::{demo, load};

const TEXT: &str =
    "The old man walked slowly down the road. He had a dog, and the dog was tired. \"We shall be home soon,\" he said.";

#[test]
fn the_losses_are_those_of_the_lanes() {
    let mut plan = demo(1.0);
    plan.contexts_mut().for_each(|context| (context.n_ctx, context.n_outputs_max) = (16, 5));
    let mut steered = load(&plan).expect("the trio loads");
    let report = measure(steered.engine.ensemble_mut(), TEXT, &[0.0, 0.7].map(Predictor::Steered), None, |_, _| true)
        .expect("it measures");
    let tokens = steered.model().tokenize(TEXT).expect("tokens");
    assert_eq!(report.n_tokens, tokens.len() - 1);
    assert_eq!(report.n_texts, (tokens.len() - 1).div_ceil(15));

    // Again, one token at a time, in f64.
    let mut sums = [0.0; 4];
    for window in tokens[1..].chunks(15) {
        let (ensemble, sequence) = steered.by_hand();
        ensemble.clear(sequence);
        let mut last = tokens[0];
        for (position, &next) in window.iter().enumerate() {
            steered.decode(&[last]).expect("it decodes");
            let (ensemble, sequence) = steered.by_hand();
            // What follows the first token is the answer's second, as nothing was read before it.
            let row = |lane| ensemble.logits(sequence, lane, position + 1).expect("a row");
            let rows: Vec<Vec<f64>> =
                (0..3).map(|lane| row(lane).iter().map(|&logit| f64::from(logit)).collect()).collect();
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
        row.figures.loss.mean()
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
    let report = measure(steered.engine.ensemble_mut(), TEXT, &[], None, |_, _| {
        n_asked += 1;
        n_asked <= 1
    });
    let report = report.expect("it measures");
    assert_eq!((report.n_texts, report.n_tokens), (1, 15));
    let report = measure(steered.engine.ensemble_mut(), TEXT, &[], Some(1), |_, _| true).expect("it measures");
    assert_eq!(report.n_texts, 1);
}

/// Several windows at once are the same windows, in the same order.
#[test]
fn windows_that_are_read_together_have_the_losses_of_each() {
    let report = |n: usize| {
        let mut plan = Plan { texts: Texts::apart(n), ..demo(1.0) };
        plan.contexts_mut().for_each(|context| {
            (context.n_ctx, context.n_outputs_max, context.n_batch) = (8, 16, 16);
            (context.cache_type_k, context.cache_type_v) = (CacheType::Q8_0, CacheType::Q8_0);
            context.flash_attention = FlashAttention::On;
        });
        let mut steered = load(&plan).expect("the trio loads");
        measure(steered.engine.ensemble_mut(), TEXT, &[Predictor::Steered(0.7)], None, |_, _| true)
            .expect("it measures")
    };
    let one_by_one = report(1);
    assert!(one_by_one.n_texts > 3);
    for n in [2, 3, 16] {
        assert_eq!(report(n), one_by_one, "{n} at once");
    }
}
