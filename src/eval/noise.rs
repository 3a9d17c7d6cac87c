//! What rounding does to the sum of several models: the same texts are read twice, once as always and once with products of
//! weights and columns that round no column to 8 bits.
//!
//! A sum adds up the rounding of all its models, and what it is to add, `α · (expert − antiexpert)`, is a difference of two
//! rows that are alike. So the noise of that difference is set against its size: both as standard deviations over the vocabulary,
//! each token as probable as the sum has it, of which a constant that is added to all logits is no part. What is left of the
//! rounding in both readings (the cache in 16 bits, sums in floats) is not seen.

use super::figures::{self, Subject};
use super::kept::{self, Kept, Store};
use super::reading::{self, Predicted};
use super::texts::Texts;
use crate::arithmetic::softmax;
use crate::arithmetic::statistics::GroupedMean;
use crate::llama::kernels::Unrounded;
use crate::steer::{self, Ensemble, Role, Rows, Topology, Weights};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Kept(#[from] kept::Error),

    #[error("the {role}'s matrices are not multiplied by proxytune's kernels, and others always round")]
    NotOurs { role: Role },
}

impl Error {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Kept(_) => None,
            Self::NotOurs { .. } => Some(
                "they multiply weights in q4_0, q5_0, q8_0, q4_K, q5_K, q6_K, f32, f16 and bf16 in main memory, on x86-64 with \
                 AVX2, unless --kernels off is given",
            ),
        }
    }
}

impl From<steer::Error> for Error {
    fn from(error: steer::Error) -> Self {
        Self::Kept(error.into())
    }
}

/// What rounding does to one subject's predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounded {
    pub subject: Subject,
    /// Deviation of the noise in its logits, in nats: of each token squared.
    squared: GroupedMean,
    /// Share of tokens at which the top token is another.
    pub changed: GroupedMean,
    /// KL(unrounded ‖ rounded) in nats.
    pub divergence: GroupedMean,
    /// Nats a token: rounded minus unrounded.
    pub loss: GroupedMean,
    /// The greatest difference in the log-probability of a token of the texts.
    pub largest: f64,
}

/// The offset that is added to the base, and its noise.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Offset {
    signal: GroupedMean,
    noise: GroupedMean,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    pub n_tokens: usize,
    pub n_texts: usize,
    /// Every lane alone, the base first; then the sum as planned.
    pub rows: Vec<Rounded>,
    pub offset: Offset,
}

impl Rounded {
    fn new(subject: Subject) -> Self {
        let mean = GroupedMean::default;
        Self { subject, squared: mean(), changed: mean(), divergence: mean(), loss: mean(), largest: 0.0 }
    }

    fn push(&mut self, point: &Point) {
        self.squared.push(point.squared);
        self.changed.push(point.changed);
        self.divergence.push(point.divergence);
        self.loss.push(point.loss);
        self.largest = self.largest.max(point.loss.abs());
    }

    fn next_text(&mut self) {
        let Self { squared, changed, divergence, loss, .. } = self;
        [squared, changed, divergence, loss].into_iter().for_each(GroupedMean::next_group);
    }

    /// Root of the mean square over all tokens, in nats.
    #[must_use]
    pub fn noise(&self) -> f64 {
        self.squared.mean().sqrt()
    }
}

impl Offset {
    /// Roots of the mean squares over all tokens, in nats.
    #[must_use]
    pub fn signal(&self) -> f64 {
        self.signal.mean().sqrt()
    }

    #[must_use]
    pub fn noise(&self) -> f64 {
        self.noise.mean().sqrt()
    }
}

/// Reads texts twice. `progress` hears how many tokens are done of how many, both readings together, and answers whether to go on;
/// on a no the figures are those of what was read twice.
pub fn measure(
    ensemble: &mut Ensemble,
    texts: &Texts,
    store: Store,
    mut progress: impl FnMut(usize, usize) -> bool,
) -> Result<Noise, Error> {
    let (topology, n) = (ensemble.topology().clone(), texts.n_tokens());
    let is_ours = |lane: &usize| ensemble.model(*lane).kernels().is_some() && !ensemble.use_devices();
    if let Some(lane) = (0..topology.lanes().len()).find(|lane| !is_ours(lane)) {
        return Err(Error::NotOurs { role: topology.lanes()[lane].role });
    }
    let rounded = Kept::read(ensemble, texts, store, |done, _| progress(done, 2 * n))?;
    let subjects = Subject::lanes(&topology).chain([Subject::Sum(topology.planned().clone())]);
    let subjects: Vec<_> = subjects.collect();
    // The kernels are in use: they multiply for every lane.
    let _unrounded = Unrounded::begin();
    let mut points: Vec<Vec<Point>> = vec![Vec::new(); texts.len()];
    let mut failed = None;
    let each = |predicted: &Predicted<'_>| {
        let Predicted { ensemble, sequence, text, position, token, .. } = *predicted;
        let rounded = match rounded.find(text, position) {
            Ok(Some(rows)) => rows,
            Ok(None) => return Ok(()),
            Err(error) => {
                failed.get_or_insert(error);
                return Ok(());
            }
        };
        ensemble.check_finite(sequence, position)?;
        let logits =
            (0..topology.lanes().len()).map(|lane| ensemble.logits(sequence, lane, position).map(<[f32]>::to_vec));
        let unrounded = Rows { logits: logits.collect::<Result<_, _>>()?, position };
        for subject in &subjects {
            points[text].push(point(&topology, subject, &rounded, &unrounded, token as usize)?);
        }
        Ok(())
    };
    reading::read(ensemble, texts, each, |done| progress(n + done, 2 * n))?;
    match failed {
        Some(error) => Err(kept::Error::from(error).into()),
        None => Ok(Noise::of(subjects, &points)),
    }
}

/// One subject at one token.
#[derive(Debug, Clone, Copy)]
struct Point {
    squared: f64,
    changed: f64,
    divergence: f64,
    loss: f64,
    /// Signal and noise of the offset, squared, where the subject is a sum.
    offset: Option<(f64, f64)>,
}

fn point(
    topology: &Topology,
    subject: &Subject,
    rounded: &Rows,
    unrounded: &Rows,
    id: usize,
) -> Result<Point, steer::Error> {
    let position = unrounded.position;
    let row = |rows: &Rows| {
        let mut dense = Vec::new();
        let lane = |lane: usize| Ok(topology.lanes()[lane].row(&rows.logits[lane]));
        figures::fill(topology, subject, position, lane, &mut dense).map(|()| dense)
    };
    let (with, without) = (row(rounded)?, row(unrounded)?);
    let weights = probabilities(&without);
    let offset = match subject {
        Subject::Alone(_) => None,
        Subject::Sum(of) => {
            let (with, without) =
                (offset(of, position, &with, &rounded.logits[0]), offset(of, position, &without, &unrounded.logits[0]));
            let noise = with.iter().zip(&without).map(|(a, b)| a - b);
            Some((variance(&weights, without.iter().copied()), variance(&weights, noise)))
        }
    };
    Ok(Point {
        squared: variance(&weights, with.iter().zip(&without).map(|(a, b)| f64::from(a - b))),
        changed: f64::from(u8::from(softmax::argmax(&with) != softmax::argmax(&without))),
        divergence: softmax::divergence(&without, &with, softmax::log_sum_exp(&with)).1,
        loss: softmax::logprob(&without, id) - softmax::logprob(&with, id),
        offset,
    })
}

impl Noise {
    /// Figures of points: of every text, every token's, one for each subject.
    fn of(subjects: Vec<Subject>, points: &[Vec<Point>]) -> Self {
        let n_subjects = subjects.len();
        let mut noise = Self {
            n_tokens: points.iter().map(Vec::len).sum::<usize>() / n_subjects,
            n_texts: points.iter().filter(|points| !points.is_empty()).count(),
            rows: subjects.into_iter().map(Rounded::new).collect(),
            offset: Offset::default(),
        };
        for points in points.iter().filter(|points| !points.is_empty()) {
            for (i, point) in points.iter().enumerate() {
                noise.rows[i % n_subjects].push(point);
                if let Some((signal, of_noise)) = point.offset {
                    noise.offset.signal.push(signal);
                    noise.offset.noise.push(of_noise);
                }
            }
            noise.rows.iter_mut().for_each(Rounded::next_text);
            noise.offset.signal.next_group();
            noise.offset.noise.next_group();
        }
        noise
    }
}

/// What a sum adds to the base.
fn offset(weights: &Weights, position: usize, sum: &[f32], base: &[f32]) -> Vec<f64> {
    let of_base = f64::from(weights.base_at(position));
    sum.iter().zip(base).map(|(sum, base)| f64::from(*sum) - of_base * f64::from(*base)).collect()
}

fn probabilities(row: &[f32]) -> Vec<f64> {
    let sum = softmax::log_sum_exp(row);
    row.iter().map(|logit| (f64::from(*logit) - sum).exp()).collect()
}

/// The variance of values under these probabilities; tokens without one do not count, whatever their value.
fn variance(probabilities: &[f64], values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut square) = (0.0, 0.0);
    for (p, value) in probabilities.iter().zip(values).filter(|(p, _)| **p > 0.0) {
        mean += p * value;
        square += p * value * value;
    }
    (square - mean * mean).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_no_noise_and_what_cannot_be_does_not_count() {
        let even = [0.25; 4];
        assert!(variance(&even, [3.0; 4].into_iter()) < 1e-12);
        assert!((variance(&even, [1.0, -1.0, 1.0, -1.0].into_iter()) - 1.0).abs() < 1e-12);
        assert_eq!(variance(&[0.5, 0.5, 0.0, 0.0], [1.0, 1.0, f64::INFINITY, f64::NAN].into_iter()), 0.0);
        let p = probabilities(&[0.0, 0.0, f32::NEG_INFINITY, f32::NEG_INFINITY]);
        assert!((p[0] - 0.5).abs() < 1e-6 && p[2] == 0.0);
    }

    #[test]
    fn what_a_sum_adds_is_without_the_bases_weight() {
        let weights = Weights::constant(0.5, &[(1.0, 1.0)]);
        assert_eq!(offset(&weights, 0, &[2.0, 3.0], &[2.0, 4.0]), [1.0, 1.0]);
    }
}
